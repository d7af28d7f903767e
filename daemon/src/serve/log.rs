//! Where the supervisor's own messages go. Audit records have a way of their own.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging: to the journal for the system service, to standard error
/// for a private supervisor and wherever there is no journal.
pub(super) fn start(system: bool) {
    let registry = tracing_subscriber::registry().with(LevelFilter::INFO);
    let journal = system.then(tracing_journald::layer).and_then(Result::ok);
    // A second start in one process (tests) keeps the first subscriber.
    let _ = match journal {
        Some(journal) => registry.with(journal).try_init(),
        None => {
            let stderr = tracing_subscriber::fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(false)
                .with_target(false);
            registry.with(stderr).try_init()
        }
    };
}
