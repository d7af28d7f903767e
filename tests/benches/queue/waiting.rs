//! A supervisor in which many jobs wait: what it answers how fast, what it takes of
//! memory, how long a restart takes.

use crate::median_ms;
use fetchml_api::proxy::ManagerProxy;
use fetchml_tests::private::Private;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};
use zbus::Variant;
use zbus::connection::Builder;

const ROUNDS: usize = 40;

pub(crate) fn section() -> String {
    let mut text = String::from(
        "\n## Jobs that wait\n\n\
         | jobs waiting | submit all, s | submit one, ms | list a page, ms | describe one, ms \
         | cancel one, ms | bytes a job in memory | restart until it answers, s |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("an event loop");
    for waiting in [1_000, 10_000, 100_000] {
        match runtime.block_on(at(waiting)) {
            Ok(row) => text.push_str(&row),
            Err(error) => {
                let _ = writeln!(text, "\n{waiting} could not be measured: {error}");
            }
        }
    }
    text
}

async fn at(waiting: u64) -> Result<String, Box<dyn std::error::Error>> {
    let private = Private::new()?;
    private.ctl(["run", "--", "true"]);
    let pid = private.supervisor().ok_or("no supervisor")?;
    let manager = connect(&private).await?;
    let before = resident_bytes(pid.as_raw_nonzero().get())?;
    let began = Instant::now();
    let mut spec = held(&["/bin/true"]);
    spec.insert("array", Variant::from(format!("1-{waiting}")));
    let (array, count) = manager.submit_array(spec, vec![]).await?;
    let all = began.elapsed();
    assert_eq!(count, waiting, "all are accepted");
    let after = resident_bytes(pid.as_raw_nonzero().get())?;
    let bytes = after.saturating_sub(before) / waiting;
    let (mut submit, mut list, mut describe, mut cancel) = (vec![], vec![], vec![], vec![]);
    for n in 0..ROUNDS {
        let began = Instant::now();
        let (id, _) = manager.submit_job(held(&["/bin/true"]), vec![]).await?;
        submit.push(began.elapsed());
        let began = Instant::now();
        manager.describe_jobs(HashMap::from([("limit", Variant::from(50_u32))])).await?;
        list.push(began.elapsed());
        let began = Instant::now();
        manager.describe_job(array + u64::try_from(n)?).await?;
        describe.push(began.elapsed());
        let began = Instant::now();
        manager.cancel_job(id).await?;
        manager.wait_job(id).await?;
        cancel.push(began.elapsed());
    }
    drop(manager);
    private.crash();
    let began = Instant::now();
    private.ctl(["list", "-n", "1"]);
    let restart = began.elapsed();
    let [submit, list, describe, cancel]: [f64; 4] =
        [submit, list, describe, cancel].map(|mut times: Vec<Duration>| median_ms(&mut times));
    // Otherwise each would be cancelled by itself when this is dropped.
    private.crash();
    Ok(format!(
        "| {waiting} | {:.2} | {submit:.2} | {list:.2} | {describe:.2} | {cancel:.2} | {bytes} | \
         {:.2} |\n",
        all.as_secs_f64(),
        restart.as_secs_f64()
    ))
}

fn held(command: &[&str]) -> HashMap<&'static str, Variant<'static>> {
    let words: Vec<String> = command.iter().map(|&word| word.to_owned()).collect();
    HashMap::from([("command", Variant::from(words)), ("hold", Variant::from(true))])
}

async fn connect(private: &Private) -> zbus::Result<ManagerProxy<'static>> {
    let stream = std::os::unix::net::UnixStream::connect(private.socket())?;
    let connection = Builder::unix_stream(stream).p2p().build().await?;
    ManagerProxy::new(&connection).await
}

/// Memory that a process has for itself.
fn resident_bytes(pid: i32) -> std::io::Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = text
        .lines()
        .filter_map(|line| line.strip_prefix("Private_Dirty:"))
        .filter_map(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
        .sum::<u64>();
    Ok(kib * 1024)
}
