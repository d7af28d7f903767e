//! Descriptions of many jobs come in pages, however many are asked for.

use super::*;
use fetchml_api::names::{MAX_PAGE_JOBS, PAGE_BYTES};

type Spec = HashMap<&'static str, Variant<'static>>;

async fn page(manager: &ManagerProxy<'_>, before: Option<u64>) -> (Vec<JobDescription>, usize) {
    let mut filter = HashMap::from([("limit", Variant::from(u32::MAX))]);
    if let Some(before) = before {
        filter.insert("before", Variant::from(before));
    }
    let text = manager.describe_jobs(filter).await.expect("described");
    (serde_json::from_str(&text).expect("descriptions"), text.len())
}

#[tokio::test]
async fn a_page_of_long_descriptions_ends_early_and_the_next_goes_on() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let word = "a".repeat(120_000);
    let mut long: Spec = command(&[["/bin/true"].as_slice(), &[word.as_str(); 8]].concat());
    long.insert("hold", Variant::from(true));
    for _ in 0..6 {
        manager.submit_job(long.clone(), vec![]).await.expect("accepted");
    }
    let mut before = None;
    let mut found = Vec::new();
    loop {
        let (jobs, bytes) = page(&manager, before).await;
        assert!(bytes < PAGE_BYTES + (1 << 20) + 4096, "{bytes} bytes in one answer");
        let Some(oldest) = jobs.first() else { break };
        before = Some(oldest.id.0);
        let last = bytes < PAGE_BYTES;
        found.extend(jobs.iter().rev().map(|job| job.id.0));
        if last {
            break;
        }
    }
    assert_eq!(found, (1..=6).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_has_a_thousand_jobs_at_most() {
    let world = World::new(1).await;
    let manager = world.manager(1000).await;
    let mut many: Spec = command(&["true"]);
    many.insert("hold", Variant::from(true));
    many.insert("array", Variant::from("1-1005"));
    manager.submit_array(many, vec![]).await.expect("accepted");
    let (jobs, _) = page(&manager, None).await;
    assert_eq!(jobs.len(), MAX_PAGE_JOBS as usize);
    let (rest, _) = page(&manager, Some(jobs[0].id.0)).await;
    assert_eq!(rest.iter().map(|job| job.id.0).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}
