//! A whole machine whose power is cut while clients use its supervisor.

use super::check::check;
use super::{Lot, Outcome, Served, with_clients};
use crate::machine::Fate;
use crate::machine::power::Machine;
use crate::{Debian, Output, Unavailable};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Runs at each boot. What the first one does is on the disk before it says so.
const AT_BOOT: &str = r#"
[ -x /usr/sbin/fetchmld ] || {
    dpkg -i ./fetchml_*.deb && usermod -aG fetchml alice || exit 1
    install -d -o alice -g alice /home/alice/project
    # Jobs that are lost are tried again while the test waits.
    mkdir -p /etc/fetchml/fetchml.toml.d
    printf '[retry]\nfirst_pause_seconds = 1\n' > /etc/fetchml/fetchml.toml.d/test.toml
    systemctl restart fetchmld
    sync
}
"#;
/// What is wrong with the supervisor's unit after a boot, or nothing.
const IS_WELL: &str = r#"
[ "$(systemctl is-active fetchmld.service fetchml-jobs.service)" = "active
active" ] || systemctl status --no-pager --lines=20 fetchmld.service fetchml-jobs.service
[ "$(systemctl show --property=NRestarts --value fetchmld.service)" = 0 ] || {
    echo 'the supervisor had to be started more than once'
    journalctl --boot --no-pager --unit=fetchmld.service
}
"#;
const CLIENT: &str = "alice";

/// How much and from which seed.
#[derive(Clone, Copy, Debug)]
pub struct Resets {
    /// How often the power is cut.
    pub resets: u64,
    /// Of all that is drawn by lot.
    pub seed: u64,
}

impl Served for Machine {
    fn ctl(&self, words: &[&str]) -> Output {
        const IN_PROJECT: [&str; 4] =
            ["sh", "-c", r#"cd project && exec fetchmlctl "$@""#, "fetchmlctl"];
        let words: Vec<_> = IN_PROJECT.iter().chain(words).copied().collect();
        self.ask(CLIENT, &words).unwrap_or_else(|| gone(&words))
    }

    fn verify(&self) -> Output {
        let words = ["fetchmlctl", "audit", "verify"];
        self.ask("root", &words).unwrap_or_else(|| gone(&words))
    }

    fn is_there(&self) -> bool {
        Self::is_there(self)
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        const COUNT: &str = "cd /var/lib/fetchml/users && grep -c '' */default/*/outputs/count";
        let counted = self.ask("root", &["sh", "-c", COUNT]).map(|output| output.stdout);
        let lines = counted.iter().flat_map(|text| text.lines()).filter_map(|line| {
            let (path, count) = line.rsplit_once(':')?;
            Some((path.split('/').nth(2)?.to_owned(), count.parse().ok()?))
        });
        lines.collect()
    }

    fn loses_jobs(&self) -> bool {
        true
    }

    fn longest_pause(&self) -> Duration {
        Duration::from_millis(500)
    }
}

fn gone(words: &[&str]) -> Output {
    Output {
        command: words.join(" "),
        status: -1,
        stdout: String::new(),
        stderr: "the power was cut".to_owned(),
    }
}

impl Resets {
    /// Runs it, and tells of each cut.
    ///
    /// # Errors
    /// When no machine can be emulated here.
    ///
    /// # Panics
    /// When the machine does not come up any more.
    pub fn run(&self, package: PathBuf, tell: impl Fn(Fate)) -> Result<Outcome, Unavailable> {
        let machine = Machine::new(Debian::Trixie, &[package], AT_BOOT)?;
        let mut outcome = Outcome::default();
        boot(&machine, &mut outcome);
        let answers = with_clients(&machine, self.seed, || self.cut(&machine, &mut outcome, tell));
        check(&machine, &answers, &mut outcome);
        machine.power_off();
        Ok(outcome)
    }

    fn cut(&self, machine: &Machine, outcome: &mut Outcome, tell: impl Fn(Fate)) {
        let mut lot = Lot::new(self.seed);
        let mut boots = Vec::new();
        // Unlike the number of seconds it means the same on every machine.
        let mut life = FIRST_LIFE;
        for _ in 0..self.resets {
            thread::sleep(life / 4 + lot.up_to(life / 2));
            tell(machine.cut_power(&mut lot));
            // One of four is cut once more at a moment of the boot that follows.
            if lot.below(4) == 0 {
                machine.switch_on();
                thread::sleep(lot.up_to(life));
                tell(machine.cut_power(&mut lot));
                outcome.early += 1;
            }
            life = boot(machine, outcome);
            boots.push(life);
        }
        outcome.restarted(boots);
    }
}

/// Of the first run, when no boot was measured yet that installed nothing.
const FIRST_LIFE: Duration = Duration::from_secs(10);

fn boot(machine: &Machine, outcome: &mut Outcome) -> Duration {
    let begun = Instant::now();
    machine.switch_on();
    machine.wait_until_up();
    let time = begun.elapsed();
    let said = machine.ask("root", &["sh", "-c", IS_WELL]).map(|output| output.stdout);
    if said.as_deref() != Some("") {
        outcome.wrong.push(format!("after a boot: {}", said.unwrap_or_default()));
    }
    time
}
