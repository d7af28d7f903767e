//! What is made ahead of the launches that will need it, by a thread of its own:
//! network and IPC namespaces and the accounts that jobs run as.
//!
//! A network namespace is the dearest single part of a launch (about 0.4 ms), the
//! user namespaces of a job cost 0.3 ms. A namespace that a job lived in is never
//! given to another: what is prepared is always new.
//!
//! It is made while nobody launches, as far as there is enough until then: on a
//! machine of few processors it would be made at the expense of a launch.

use super::accounts::{Account, Ids};
use crate::plan::failed;
use crate::supervise::Refusal;
use fetchml_sys::namespace::{ChannelMaker, Channels, NetworkKind};
use rustix::fd::{AsFd, OwnedFd};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Network and IPC namespaces kept ready of each kind that was asked for; those of a
/// network hold about 0.2 MiB of kernel memory.
const CHANNELS: usize = 16;
/// They are made again at once when no more than this are left, several at a time.
const FEW_CHANNELS: usize = 2;

/// Accounts kept ready for the same submitter and ids, and for all together.
const ACCOUNTS_OF_ONE: usize = 16;
const ACCOUNTS: usize = 64;

/// After so long without a launch or an end what can wait is made.
const QUIET: Duration = Duration::from_millis(5);
/// Ended jobs that wait for that, at most: fewer than there are accounts of one.
const MOST_WAITING: usize = 14;

enum Order {
    /// Fill up the namespaces of a kind; the first goes to the asker.
    Channels(NetworkKind, Option<Sender<std::io::Result<Channels>>>),
    /// Make an account for jobs of these ids.
    Account(Ids),
    /// There is something to make in a pause, or too much for one.
    Look,
}

/// What a job leaves of which there will be more.
#[derive(Debug)]
struct Ended {
    account: Account,
    /// Its agent, dead and not yet waited for.
    agent: OwnedFd,
}

/// The stores, and the thread that fills them.
#[derive(Clone, Debug)]
pub(crate) struct Ahead {
    stores: Arc<Mutex<Stores>>,
    orders: Sender<Order>,
}

#[derive(Debug, Default)]
struct Stores {
    nothing: VecDeque<Channels>,
    loopback: VecDeque<Channels>,
    hosts: VecDeque<Channels>,
    /// The least recently used kind of account first.
    accounts: VecDeque<Account>,
    ended: Vec<Ended>,
    /// A filling is under way.
    filling: bool,
    /// The last launch or end.
    used: Option<Instant>,
    /// The thread waits for an order, however long that takes.
    sleeps: bool,
}

impl Stores {
    fn channels(&mut self, kind: NetworkKind) -> &mut VecDeque<Channels> {
        match kind {
            NetworkKind::Nothing => &mut self.nothing,
            NetworkKind::Loopback => &mut self.loopback,
            NetworkKind::Host => &mut self.hosts,
        }
    }

    fn lacking(&mut self, kinds: &[NetworkKind]) -> Option<NetworkKind> {
        kinds.iter().copied().find(|kind| self.channels(*kind).len() < CHANNELS)
    }

    /// What does not wait for a pause any longer.
    fn too_many_ended(&mut self) -> Vec<Ended> {
        let many = self.ended.len() >= MOST_WAITING;
        if many { std::mem::take(&mut self.ended) } else { Vec::new() }
    }

    fn count(&self, ids: Ids) -> usize {
        self.accounts.iter().filter(|a| a.ids() == ids).count()
    }

    fn add(&mut self, account: Account) {
        if self.count(account.ids()) < ACCOUNTS_OF_ONE {
            if self.accounts.len() == ACCOUNTS {
                self.accounts.pop_front();
            }
            self.accounts.push_back(account);
        }
    }
}

fn lock(stores: &Mutex<Stores>) -> MutexGuard<'_, Stores> {
    // What is in the stores is complete or not there, whoever panicked.
    stores.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ahead {
    /// Starts the thread.
    pub(super) fn start(accounts: super::HostIds) -> Result<Self, Refusal> {
        let stores = Arc::new(Mutex::new(Stores::default()));
        let (orders, inbox) = channel();
        let maker = ChannelMaker::new().map_err(failed("open the own namespaces"))?;
        let filled = Arc::clone(&stores);
        std::thread::Builder::new()
            .name("ahead".into())
            .spawn(move || serve(&inbox, &filled, &maker, &accounts))
            .map_err(failed("start the thread that prepares namespaces"))?;
        Ok(Self { stores, orders })
    }

    /// Namespaces that nobody was ever in.
    pub(crate) fn channels(&self, kind: NetworkKind) -> Result<Channels, Refusal> {
        let (ready, order_more) = {
            let mut stores = lock(&self.stores);
            stores.used = Some(Instant::now());
            let ready = stores.channels(kind).pop_front();
            let few = stores.channels(kind).len() <= FEW_CHANNELS;
            let order_more = ready.is_some() && few && !stores.filling;
            stores.filling |= order_more;
            (ready, order_more)
        };
        if order_more {
            self.order(Order::Channels(kind, None));
        }
        if let Some(ready) = ready {
            return Ok(ready);
        }
        let what = "make network and IPC namespaces";
        let (answer, answered) = channel();
        self.order(Order::Channels(kind, Some(answer)));
        answered.recv().map_err(failed(what))?.map_err(failed(what))
    }

    /// A prepared account for these ids, if there is one.
    pub(super) fn account(&self, ids: Ids) -> Option<Account> {
        let mut stores = lock(&self.stores);
        let found = stores.accounts.iter().position(|a| a.ids() == ids);
        let account = found.and_then(|at| stores.accounts.remove(at));
        // One more for the next job, unless ended ones keep bringing theirs back.
        if stores.count(ids) == 0 {
            self.order(Order::Account(ids));
        }
        account
    }

    /// Takes back the account of a job whose agent has ended, and waits for the agent
    /// (waitid(2)), in the next pause. The thread is not woken for each: it would take
    /// the processor from who brings it.
    pub(crate) fn renew(&self, account: Account, agent: OwnedFd) {
        let mut stores = lock(&self.stores);
        stores.used = Some(Instant::now());
        stores.ended.push(Ended { account, agent });
        let wakes = stores.sleeps || stores.ended.len() == MOST_WAITING;
        drop(stores);
        if wakes {
            self.order(Order::Look);
        }
    }

    fn order(&self, order: Order) {
        // Without the thread nothing is prepared, which only makes launches slower
        // or is said where one waits for it.
        let _ = self.orders.send(order);
    }
}

fn serve(
    inbox: &Receiver<Order>,
    stores: &Mutex<Stores>,
    maker: &ChannelMaker,
    ids: &super::HostIds,
) {
    // Kinds that were asked for, until one cannot be made.
    let mut kinds = Vec::new();
    loop {
        let order = match pause(stores, &kinds) {
            None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(pause) => inbox.recv_timeout(pause),
        };
        lock(stores).sleeps = false;
        match order {
            Ok(Order::Channels(kind, asker)) => {
                if !kinds.contains(&kind) {
                    kinds.push(kind);
                }
                fill(stores, maker, kind, asker);
            }
            Ok(Order::Account(of)) => {
                if let Ok(account) = Account::make(ids, of) {
                    lock(stores).add(account);
                }
            }
            Ok(Order::Look) => {
                let all = lock(stores).too_many_ended();
                all.into_iter().for_each(|one| renew(stores, one));
            }
            // One thing at a time: somebody may come and wait.
            Err(RecvTimeoutError::Timeout) => make_one(stores, maker, &mut kinds),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// How long until there is a pause in which to make something; nothing when there is
/// nothing to make.
fn pause(stores: &Mutex<Stores>, kinds: &[NetworkKind]) -> Option<Duration> {
    let mut stores = lock(stores);
    if stores.ended.is_empty() && stores.lacking(kinds).is_none() {
        stores.sleeps = true;
        return None;
    }
    let since = stores.used.map_or(QUIET, |used| used.elapsed());
    Some(QUIET.saturating_sub(since))
}

/// Does one of the things that are done while nobody launches and nothing ends.
fn make_one(stores: &Mutex<Stores>, maker: &ChannelMaker, kinds: &mut Vec<NetworkKind>) {
    if pause(stores, kinds) != Some(Duration::ZERO) {
        return;
    }
    let (ended, lacking) = {
        let mut stores = lock(stores);
        (stores.ended.pop(), stores.lacking(kinds))
    };
    if let Some(one) = ended {
        renew(stores, one);
    } else if let Some(kind) = lacking {
        match maker.make(kind) {
            Ok(made) => lock(stores).channels(kind).push_back(made),
            // The next launch will ask again, and hear why.
            Err(_) => kinds.retain(|other| *other != kind),
        }
    }
}

/// A host id goes back to its submitter's jobs only, with a user namespace that is new.
/// The end of PID 1 was the end of every process of the job.
fn renew(stores: &Mutex<Stores>, Ended { account, agent }: Ended) {
    // It has ended; who traces it may keep it from being waited for, which is not waited for.
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    if matches!(waitid(WaitId::PidFd(agent.as_fd()), options), Ok(Some(_)))
        && let Ok(account) = account.renewed()
    {
        lock(stores).add(account);
    }
}

fn fill(
    stores: &Mutex<Stores>,
    maker: &ChannelMaker,
    kind: NetworkKind,
    asker: Option<Sender<std::io::Result<Channels>>>,
) {
    let make = || maker.make(kind);
    if let Some(asker) = asker {
        // Who asked waits for it.
        let _ = asker.send(make());
    }
    while lock(stores).channels(kind).len() < CHANNELS {
        // The next launch will ask again, and hear why.
        let Ok(made) = make() else { break };
        lock(stores).channels(kind).push_back(made);
    }
    lock(stores).filling = false;
}
