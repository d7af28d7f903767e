//! A supervisor's log in memory: written as the supervisor writes it, with restarts,
//! crashes, rotations and pruning, and open to whoever wants to change it.

use fetchml_api::audit::merkle::Tree;
use fetchml_api::audit::{
    Actor, AnchorLine, Chain, Checkpoint, Checkpoints, Event, Examination, Hash, Head, Id128, Kind,
    Known, NewRecord, Note, Origin, PublicKey, Report, Role, Sealed, SigningKey, Stamp,
    split_notes,
};
use fetchml_api::job::JobId;
use std::path::Path;
use zeroize::Zeroizing;

pub const TIME: u64 = 1_763_000_000_000_000;

/// Numbers that a seed repeats (xorshift64*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() >> 11).unwrap() % n.max(1)
    }

    pub fn seed(&mut self) -> Zeroizing<[u8; 32]> {
        let mut seed = [0; 32];
        seed.chunks_mut(8).for_each(|part| part.copy_from_slice(&self.next().to_le_bytes()));
        Zeroizing::new(seed)
    }
}

/// The files of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Number, content.
    pub segments: Vec<(u64, Vec<u8>)>,
    pub notes: Vec<(u64, Vec<u8>)>,
}

impl Files {
    pub fn judge(&self, known: Known) -> Report {
        let mut checkpoints = Checkpoints::new(known);
        for (number, bytes) in &self.notes {
            checkpoints.read(&format!("{number:012}.notes"), bytes);
        }
        let records: Vec<u8> = self.segments.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let mut examination: Examination = checkpoints.examine(&records);
        examination.feed(&records);
        examination.finish()
    }

    pub fn write_to(&self, dir: &Path) {
        for (number, bytes) in &self.segments {
            std::fs::write(dir.join(format!("{number:012}.log")), bytes).unwrap();
        }
        for (number, bytes) in &self.notes {
            std::fs::write(dir.join(format!("{number:012}.notes")), bytes).unwrap();
        }
    }

    /// Every line of every segment: which segment, which bytes.
    pub fn lines(&self) -> Vec<(usize, std::ops::Range<usize>)> {
        let mut lines = Vec::new();
        for (place, (_, bytes)) in self.segments.iter().enumerate() {
            let mut start = 0;
            for line in bytes.split_inclusive(|b| *b == b'\n') {
                lines.push((place, start..start + line.len()));
                start += line.len();
            }
        }
        lines
    }

    pub fn line(&self, n: usize) -> Vec<u8> {
        let (place, range) = self.lines()[n].clone();
        self.segments[place].1[range].to_vec()
    }

    pub fn set_line(&mut self, n: usize, with: &[u8]) {
        let (place, range) = self.lines()[n].clone();
        self.segments[place].1.splice(range, with.iter().copied());
    }

    pub fn all_notes(&self) -> Vec<Note> {
        let text: Vec<u8> = self.notes.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
        let text = String::from_utf8(text).unwrap();
        split_notes(&text).0.into_iter().map(|note| Note::read(note).unwrap()).collect()
    }
}

/// A supervisor and its log.
#[derive(Debug)]
pub struct Machine {
    pub dice: Dice,
    pub log_id: Id128,
    pub host: String,
    pub key: SigningKey,
    pub session: SigningKey,
    pub chain: Chain,
    pub tree: Tree,
    pub link: Hash,
    pub files: Files,
    pub time: u64,
    boot: u64,
    clock: u64,
    last_size: u64,
    seals: Vec<Checkpoint>,
}

impl Machine {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut id = [0; 16];
        id[..8].copy_from_slice(&dice.next().to_le_bytes());
        let (key, session) = (dice.seed(), dice.seed());
        let log_id = Id128(id);
        let origin = Origin { log_id, host: "node".into(), boot_id: Id128([1; 16]) };
        let mut machine = Self {
            log_id,
            host: "node".into(),
            key: SigningKey::from_seed(Role::Log, &key),
            session: SigningKey::from_seed(Role::Session, &session),
            chain: Chain::begin(origin),
            tree: Tree::new(),
            link: Hash([0; 32]),
            files: Files { segments: vec![(1, Vec::new())], notes: vec![(1, Vec::new())] },
            time: TIME,
            boot: 1,
            clock: 1_000_000,
            last_size: 0,
            seals: Vec::new(),
            dice,
        };
        machine.record(Event::LogOpened, "open", &[]);
        machine.start();
        machine
    }

    /// What a verifier knows that has the public key.
    pub fn known(&self) -> Known {
        Known { keys: vec![self.key.public()], ..Known::default() }
    }

    pub fn public(&self) -> PublicKey {
        self.key.public()
    }

    pub fn head(&self) -> Head {
        self.chain.head()
    }

    pub fn record(&mut self, event: Event, action: &str, details: &[(&str, String)]) -> Head {
        let n = self.chain.head().seq + 1;
        let mut new =
            NewRecord::new(event, Actor::uid(1000).named("alice"), action, &format!("job/{n}"));
        new = new.job(JobId(n));
        for (name, value) in details {
            new = new.detail(name, value);
        }
        self.time += 1000;
        self.clock += 1000;
        let stamp = Stamp { time_usec: self.time, boottime_usec: self.clock };
        let mut line = Vec::new();
        let head = self.chain.append(&new, stamp, &mut line);
        self.tree.push(head.hash);
        self.files.segments.last_mut().unwrap().1.extend(line);
        head
    }

    pub fn work(&mut self, n: usize) {
        for _ in 0..n {
            let odd = self.dice.below(7) == 0;
            let text = if odd { "a \"quoted\" line\n\u{1b}[31m ü" } else { "default" };
            self.record(Event::JobStarted, "start", &[("profile", text.to_owned())]);
        }
    }

    pub fn checkpoint(&self, kind: Kind) -> Checkpoint {
        Checkpoint {
            log_id: self.log_id,
            size: self.head().seq,
            root: self.tree.root(),
            kind,
            head: self.head().hash,
            boot_id: self.chain.origin().boot_id,
            time_usec: self.time,
            previous: self.link,
            next: None,
            sealed: None,
        }
    }

    fn append_note(&mut self, note: Note) {
        self.link = note.hash();
        self.last_size = note.checkpoint.size;
        self.files.notes.last_mut().unwrap().1.extend(note.text().as_bytes());
    }

    pub fn start(&mut self) {
        let seed = self.dice.seed();
        self.session = SigningKey::from_seed(Role::Session, &seed);
        let mut checkpoint = self.checkpoint(Kind::Start);
        checkpoint.next = Some(self.session.public());
        self.append_note(checkpoint.sign(&self.key));
    }

    pub fn note(&mut self, kind: Kind) -> AnchorLine {
        let checkpoint = self.checkpoint(kind);
        let anchor = AnchorLine::of(&checkpoint);
        self.append_note(checkpoint.sign(&self.session));
        anchor
    }

    pub fn rotate(&mut self) {
        let seed = self.dice.seed();
        let next = SigningKey::from_seed(Role::Session, &seed);
        let (number, bytes) = self.files.segments.last().unwrap();
        let (segment, bytes) = (*number, bytes.len() as u64);
        let mut checkpoint = self.checkpoint(Kind::Seal);
        checkpoint.next = Some(next.public());
        checkpoint.sealed = Some(Sealed { segment, bytes, peaks: self.tree.peaks().to_vec() });
        self.seals.push(checkpoint.clone());
        self.append_note(checkpoint.sign(&self.session));
        self.session = next;
        self.files.segments.push((segment + 1, Vec::new()));
        self.files.notes.push((segment + 1, Vec::new()));
        self.record(Event::LogRotated, "rotate", &[]);
    }

    pub fn prune(&mut self, count: usize) {
        let Some(seal) = count.checked_sub(1).and_then(|at| self.seals.get(at)).cloned() else {
            return;
        };
        let details = [("last", seal.size.to_string()), ("last_hash", seal.head.to_string())];
        self.record(Event::LogPruned, "prune", &details);
        let last = seal.sealed.unwrap().segment;
        self.files.segments.retain(|(number, _)| *number > last);
    }

    pub fn seals(&self) -> usize {
        self.seals.len()
    }

    /// Another boot of the machine.
    pub fn reboot(&mut self) {
        self.boot += 1;
        self.clock = 1_000_000;
        let mut boot_id = [0; 16];
        boot_id[..8].copy_from_slice(&self.boot.to_le_bytes());
        let origin =
            Origin { log_id: self.log_id, host: self.host.clone(), boot_id: Id128(boot_id) };
        self.chain = Chain::resume(origin, self.head());
    }

    pub fn stop(&mut self) {
        self.record(Event::DaemonStopped, "stop", &[]);
        self.note(Kind::Stop);
    }

    pub fn begin_again(&mut self) {
        self.record(Event::DaemonStarted, "start", &[]);
        self.start();
    }

    /// The machine dies: what was not told to be durable may be gone, and what was
    /// being written is there in part. Answers with the files as they lie there.
    pub fn crash(&mut self) -> Files {
        let mut left = self.files.clone();
        let torn = self.dice.below(60);
        let segment = &mut left.segments.last_mut().unwrap().1;
        if torn > 0 {
            segment.extend(
                &b"{\"action\":\"start\",\"actor\":{\"uid\":1000},\"boot_id\":\"0101"
                    [..torn.min(50)],
            );
        } else if self.dice.below(3) == 0 {
            let cut = self.dice.below(200);
            let notes = &mut left.notes.last_mut().unwrap().1;
            let begun = self.checkpoint(Kind::Interval).sign(&self.session);
            notes.extend(&begun.text().as_bytes()[..cut.min(begun.text().len() - 1)]);
        }
        left
    }

    /// And is started again: what was begun is set aside.
    pub fn recover(&mut self) {
        self.reboot();
        self.record(Event::LogRepaired, "repair", &[]);
        self.begin_again();
    }

    /// A history of many things.
    pub fn live(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.dice.below(12) {
                0 => self.rotate(),
                1 => {
                    self.stop();
                    self.reboot();
                    self.begin_again();
                }
                2 => {
                    self.crash();
                    self.recover();
                }
                3 => drop(self.note(Kind::Demand)),
                4 | 5 => drop(self.note(Kind::Interval)),
                6 if self.seals() > 1 => {
                    let count = self.dice.below(self.seals());
                    self.prune(count);
                }
                _ => {
                    let n = 1 + self.dice.below(6);
                    self.work(n);
                }
            }
        }
    }
}
