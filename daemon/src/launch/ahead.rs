//! What is made ahead of the launches that will need it, by a thread of its own:
//! network namespaces and the accounts that jobs run as.
//!
//! A network namespace is the dearest single part of a launch (about 0.4 ms), the
//! user namespaces of a job cost 0.3 ms. A namespace that a job lived in is never
//! given to another: what is prepared is always new.
//!
//! It is made while nobody launches, as far as there is enough until then: on a
//! machine of few processors it would be made at the expense of a launch.

use super::accounts::{Account, Ids};
use crate::plan::{failed, high};
use crate::supervise::Refusal;
use fetchml_sys::namespace::NetworkMaker;
use rustix::fd::OwnedFd;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Network namespaces kept ready of each kind that was asked for; each holds
/// about 0.2 MiB of kernel memory.
const NETWORKS: usize = 8;
/// They are made again at once when no more than this are left, several at a time.
const FEW_NETWORKS: usize = 2;

/// Accounts kept ready for the same submitter and ids, and for all together.
const ACCOUNTS_OF_ONE: usize = 8;
const ACCOUNTS: usize = 64;

/// After so long without an order what can wait is made.
const QUIET: Duration = Duration::from_millis(5);
/// Orders that wait for that, at most: fewer than there are accounts of one.
const MOST_WAITING: usize = 6;

/// A network namespace of no interface that is up, or of a loopback that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NetworkKind {
    Nothing,
    Loopback,
}

enum Order {
    /// Fill up the namespaces of a kind; the first goes to the asker.
    Networks(NetworkKind, Option<Sender<std::io::Result<OwnedFd>>>),
    /// Make an account for jobs of these ids.
    Account(Ids),
    /// A job's account whose processes are gone.
    Renew(Box<Account>),
}

/// The stores, and the thread that fills them.
#[derive(Clone, Debug)]
pub(crate) struct Ahead {
    stores: Arc<Mutex<Stores>>,
    orders: Sender<Order>,
}

#[derive(Debug, Default)]
struct Stores {
    nothing: VecDeque<OwnedFd>,
    loopback: VecDeque<OwnedFd>,
    /// The least recently used kind of account first.
    accounts: VecDeque<Account>,
    /// A filling is under way.
    filling: bool,
}

impl Stores {
    fn networks(&mut self, kind: NetworkKind) -> &mut VecDeque<OwnedFd> {
        match kind {
            NetworkKind::Nothing => &mut self.nothing,
            NetworkKind::Loopback => &mut self.loopback,
        }
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
        let maker = NetworkMaker::new().map_err(failed("open the own network namespace"))?;
        let filled = Arc::clone(&stores);
        std::thread::Builder::new()
            .name("ahead".into())
            .spawn(move || serve(&inbox, &filled, &maker, &accounts))
            .map_err(failed("start the thread that prepares namespaces"))?;
        Ok(Self { stores, orders })
    }

    /// A network namespace that nobody was ever in.
    pub(crate) fn network(&self, kind: NetworkKind) -> Result<OwnedFd, Refusal> {
        let (ready, order_more) = {
            let mut stores = lock(&self.stores);
            let ready = stores.networks(kind).pop_front();
            let few = stores.networks(kind).len() <= FEW_NETWORKS;
            let order_more = ready.is_some() && few && !stores.filling;
            stores.filling |= order_more;
            (ready, order_more)
        };
        if order_more {
            self.order(Order::Networks(kind, None));
        }
        if let Some(network) = ready {
            return high(network);
        }
        let what = "make a network namespace";
        let (answer, answered) = channel();
        self.order(Order::Networks(kind, Some(answer)));
        high(answered.recv().map_err(failed(what))?.map_err(failed(what))?)
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

    /// Takes back the account of a job whose last process is gone.
    pub(crate) fn renew(&self, account: Account) {
        self.order(Order::Renew(Box::new(account)));
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
    maker: &NetworkMaker,
    ids: &super::HostIds,
) {
    let mut later = Later::default();
    let mut is_quiet = false;
    loop {
        let order = match (later.is_empty(stores), is_quiet) {
            (true, _) => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            (false, false) => inbox.recv_timeout(QUIET),
            (false, true) => inbox.recv_timeout(Duration::ZERO),
        };
        is_quiet = matches!(order, Err(RecvTimeoutError::Timeout));
        match order {
            Ok(Order::Networks(kind, asker)) => {
                later.note(kind);
                fill(stores, maker, kind, asker);
            }
            Ok(Order::Account(of)) => {
                if let Ok(account) = Account::make(ids, of) {
                    lock(stores).add(account);
                }
            }
            Ok(Order::Renew(account)) => {
                later.renewals.push(*account);
                if later.renewals.len() == MOST_WAITING {
                    later.renewals.drain(..).for_each(|account| renew(stores, account));
                }
            }
            // One thing at a time: somebody may come and wait.
            Err(RecvTimeoutError::Timeout) => later.make_one(stores, maker),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// What is made while nobody asks for anything.
#[derive(Default)]
struct Later {
    renewals: Vec<Account>,
    /// Kinds of networks that were asked for, until one cannot be made.
    kinds: Vec<NetworkKind>,
}

impl Later {
    fn note(&mut self, kind: NetworkKind) {
        if !self.kinds.contains(&kind) {
            self.kinds.push(kind);
        }
    }

    fn lacking(&self, stores: &Mutex<Stores>) -> Option<NetworkKind> {
        let mut stores = lock(stores);
        self.kinds.iter().copied().find(|kind| stores.networks(*kind).len() < NETWORKS)
    }

    fn is_empty(&self, stores: &Mutex<Stores>) -> bool {
        self.renewals.is_empty() && self.lacking(stores).is_none()
    }

    fn make_one(&mut self, stores: &Mutex<Stores>, maker: &NetworkMaker) {
        if let Some(account) = self.renewals.pop() {
            renew(stores, account);
        } else if let Some(kind) = self.lacking(stores) {
            match maker.make(kind == NetworkKind::Loopback) {
                Ok(network) => lock(stores).networks(kind).push_back(network),
                // The next launch will ask again, and hear why.
                Err(_) => self.kinds.retain(|other| *other != kind),
            }
        }
    }
}

/// A host id goes back to its submitter's jobs only, with a user namespace that is new.
fn renew(stores: &Mutex<Stores>, account: Account) {
    if let Ok(account) = account.renewed() {
        lock(stores).add(account);
    }
}

fn fill(
    stores: &Mutex<Stores>,
    maker: &NetworkMaker,
    kind: NetworkKind,
    asker: Option<Sender<std::io::Result<OwnedFd>>>,
) {
    let make = || maker.make(kind == NetworkKind::Loopback);
    if let Some(asker) = asker {
        // Who asked waits for it.
        let _ = asker.send(make());
    }
    while lock(stores).networks(kind).len() < NETWORKS {
        // The next launch will ask again, and hear why.
        let Ok(network) = make() else { break };
        lock(stores).networks(kind).push_back(network);
    }
    lock(stores).filling = false;
}
