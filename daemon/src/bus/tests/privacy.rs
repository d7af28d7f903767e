//! A foreign job looks exactly like one that does not exist.

use super::*;
use fetchml_api::proxy::AuditProxy;
use futures_util::StreamExt;

async fn two_users() -> (World, ManagerProxy<'static>, Connection) {
    let world = World::new(4).await;
    let owner = world.manager(0).await;
    let stranger = world.client(4711).await;
    (world, owner, stranger)
}

#[tokio::test]
async fn every_way_to_a_foreign_job_ends_alike() {
    let (world, owner, stranger) = two_users().await;
    let id = submit(&owner, &["sleep"]).await;
    let manager = ManagerProxy::new(&stranger).await.expect("proxy");
    let foreign = [
        refusal(manager.describe_job(id).await),
        refusal(manager.wait_job(id).await),
        refusal(manager.get_job(id).await),
        refusal(manager.cancel_job(id).await),
        refusal(manager.open_log(id).await),
        refusal(manager.open_attempt_log(id, 1).await),
        refusal(manager.open_outputs(id).await),
        refusal(manager.open_work(id).await),
    ];
    let recorded = world.count(Event::PolicyDenied);
    assert_eq!(recorded, foreign.len(), "each try is recorded");
    for (name, words) in foreign {
        assert_eq!((name.as_str(), words), ("NoSuchJob", format!("there is no job {id}")));
    }
    let missing = refusal(manager.describe_job(99).await);
    assert_eq!(missing, ("NoSuchJob".to_owned(), "there is no job 99".to_owned()));
    assert!(manager.list_jobs(HashMap::new()).await.expect("list").is_empty());
    assert_eq!(manager.describe_jobs(HashMap::new()).await.expect("list"), "[]");
    let all = HashMap::from([("all-users", Variant::from(true))]);
    assert_eq!(refusal(manager.list_jobs(all).await).0, "PolicyDenied");
    let job = described(&owner.describe_job(id).await.expect("there"));
    assert!(!job.state.is_final(), "a stranger ended it");
}

pub(super) async fn managed(client: &Connection) -> zbus::fdo::ManagedObjects {
    let root = fetchml_api::names::ROOT_PATH;
    let interface = Some("org.freedesktop.DBus.ObjectManager");
    let reply = client.call_method(None::<&str>, root, interface, "GetManagedObjects", &()).await;
    reply.expect("answer").body().deserialize().expect("objects")
}

#[tokio::test]
async fn objects_and_signals_of_foreign_jobs_stay_away() {
    let (world, owner, stranger) = two_users().await;
    let mut signals = zbus::MessageStream::from(&stranger);
    let id = submit(&owner, &["true"]).await;
    owner.wait_job(id).await.expect("over");
    let live = submit(&owner, &["sleep"]).await;
    let objects = managed(&stranger).await;
    assert!(objects.is_empty());
    // The stranger was connected before, so that the tree could have grown.
    let tree = super::shape::introspect(&stranger, "/").await;
    assert!(tree.contains(fetchml_api::names::MANAGER_INTERFACE), "{tree}");
    assert!(!tree.contains(&format!("<node name=\"{live}\">")), "{tree}");
    let path = format!("/org/fetchml/FetchML1/job/{live}");
    let peek = stranger
        .call_method(None::<&str>, path.as_str(), Some("org.fetchml.FetchML1.Job"), "Describe", &())
        .await;
    assert!(peek.is_err());
    let own = submit(&ManagerProxy::new(&stranger).await.expect("proxy"), &["sleep"]).await;
    let first = loop {
        let message = signals.next().await.expect("open").expect("message");
        if message.message_type() == zbus::message::Type::Signal
            && message.header().member().is_some_and(|member| member.as_str() == "JobNew")
        {
            break message;
        }
    };
    let (told, _): (u64, zbus::OwnedObjectPath) = first.body().deserialize().expect("body");
    assert_eq!(told, own, "the first job that a stranger hears of is its own");
    let root = world.client(0).await;
    assert_eq!(managed(&root).await.len(), 2, "root sees both");
}

#[tokio::test]
async fn root_reaches_every_job_and_alone_reads_the_audit_log() {
    let (world, root, stranger) = two_users().await;
    let member = ManagerProxy::new(&stranger).await.expect("proxy");
    let id = submit(&member, &["sleep"]).await;
    root.cancel_job(id).await.expect("asked");
    member.wait_job(id).await.expect("over");
    let all = HashMap::from([("all-users", Variant::from(true))]);
    assert_eq!(root.list_jobs(all).await.expect("list").len(), 1);
    assert!(root.list_jobs(HashMap::new()).await.expect("list").is_empty(), "own jobs only");

    let audit = AuditProxy::new(&stranger).await.expect("proxy");
    assert_eq!(refusal(audit.open_segments().await).0, "PolicyDenied");
    assert_eq!(refusal(audit.head().await).0, "PolicyDenied");
    let audit = AuditProxy::new(&world.client(0).await).await.expect("proxy");
    // By then it is in the log who was let in, for which nobody waited.
    audit.checkpoint().await.expect("a checkpoint");
    let (sequence, hash) = audit.head().await.expect("head");
    let segments = audit.open_segments().await.expect("segments");
    let lines: u64 =
        segments.into_iter().map(|(_, segment)| read(segment.into()).lines().count() as u64).sum();
    assert_eq!((lines, hash.len()), (sequence + 1, 64), "who reads it stands in it");
}

#[tokio::test]
async fn an_analyst_reads_every_job_and_changes_none() {
    let (world, owner, _) = two_users().await;
    let id = submit(&owner, &["sleep"]).await;
    let client = world.member(5000, ANALYSTS).await;
    let mut signals = zbus::MessageStream::from(&client);
    let analyst = ManagerProxy::new(&client).await.expect("proxy");
    assert_eq!(described(&analyst.describe_job(id).await.expect("seen")).uid, 0);
    let all = HashMap::from([("all-users", Variant::from(true))]);
    assert_eq!(analyst.list_jobs(all).await.expect("list").len(), 1);
    assert_eq!(read(analyst.open_log(id).await.expect("log").into()), format!("Log of job {id}"));
    analyst.open_outputs(id).await.expect("outputs");
    analyst.open_work(id).await.expect("work");
    assert_eq!(managed(&client).await.len(), 1);
    assert_eq!(world.count(Event::PolicyDenied), 0, "reading is no denial");

    let refused = [
        refusal(analyst.cancel_job(id).await),
        refusal(analyst.submit_job(command(&["true"]), vec![]).await),
    ];
    for (name, words) in refused {
        assert_eq!(name, "PolicyDenied", "{words}");
        assert!(words.contains("change nothing"), "{words}");
    }
    assert_eq!(world.count(Event::PolicyDenied), 2, "each try is recorded");
    assert_eq!(refusal(analyst.cancel_job(99).await).0, "NoSuchJob");
    let job = described(&owner.describe_job(id).await.expect("there"));
    assert!(!job.state.is_final(), "an analyst ended it");
    let audit = AuditProxy::new(&client).await.expect("proxy");
    assert_eq!(refusal(audit.head().await).0, "PolicyDenied");
    let told = submit(&owner, &["sleep"]).await;
    let heard = async {
        loop {
            let message = signals.next().await.expect("open").expect("message");
            let member = message.header().member().map(|member| member.to_string());
            if member.as_deref() == Some("JobNew") {
                break message
                    .body()
                    .deserialize::<(u64, zbus::OwnedObjectPath)>()
                    .expect("body")
                    .0;
            }
        }
    };
    assert_eq!(heard.await, told);
}
