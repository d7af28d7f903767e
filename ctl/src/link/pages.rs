//! Lists of jobs, of which a supervisor answers with no more than fits on a page.

use super::{Filter, Link, unreadable};
use crate::error::{Failure, Result};
use fetchml_api::names::{MAX_LISTED_JOBS, MAX_PAGE_JOBS, PAGE_BYTES};
use serde::Deserialize;
use zbus::OwnedObjectPath;

type Row = (u64, u32, String, String, String, String, u64, OwnedObjectPath);

/// Of a job's description what is needed to go on after it.
#[derive(Debug, Deserialize)]
struct Numbered {
    id: u64,
}

impl Filter {
    /// The page before one of so many jobs, of which this is the oldest; `None` when as
    /// many were found as are wanted.
    fn before(self, oldest: u64, count: usize) -> Option<Self> {
        let found = u32::try_from(count).unwrap_or(u32::MAX);
        let limit = self.limit?.checked_sub(found).filter(|left| *left > 0)?;
        Some(Self { limit: Some(limit), before: Some(oldest), ..self })
    }
}

impl Link {
    /// Jobs as one JSON array, the newest last.
    pub(crate) async fn describe_jobs(&self, filter: Filter) -> Result<String> {
        self.described("DescribeJobs", "cannot list jobs", filter).await
    }

    /// The dead-letter list as one JSON array, the newest last.
    pub(crate) async fn list_dead(&self, filter: Filter) -> Result<String> {
        self.described("ListDead", "cannot list dead jobs", filter).await
    }

    async fn described(
        &self,
        method: &'static str,
        failed: &'static str,
        filter: Filter,
    ) -> Result<String> {
        self.supervisor().await?;
        let mut pages = Vec::new();
        let mut wanted = Some(filter);
        while let Some(filter) = wanted {
            let reply: zbus::Result<String> = self.manage(method, &(filter.wire(),)).await;
            let page = reply.map_err(|e| Failure::bus(failed, &e))?;
            let jobs: Vec<Numbered> = serde_json::from_str(&page).map_err(unreadable)?;
            let cut = jobs.len() >= MAX_PAGE_JOBS as usize || page.len() >= PAGE_BYTES;
            let oldest = jobs.first().filter(|_| cut);
            wanted = oldest.and_then(|oldest| filter.before(oldest.id, jobs.len()));
            pages.push(page);
        }
        pages.reverse();
        Ok(joined(pages))
    }

    /// Numbers and names of jobs, the newest last.
    pub(crate) async fn names(&self, filter: Filter) -> Result<Vec<(u64, String)>> {
        self.supervisor().await?;
        let mut newest_first = Vec::new();
        let mut wanted = Some(filter);
        while let Some(filter) = wanted {
            let reply: zbus::Result<Vec<Row>> = self.manage("ListJobs", &(filter.wire(),)).await;
            let page = reply.map_err(|e| Failure::bus("cannot list jobs", &e))?;
            let oldest = page.first().filter(|_| page.len() >= MAX_LISTED_JOBS as usize);
            wanted = oldest.and_then(|(id, ..)| filter.before(*id, page.len()));
            newest_first.extend(page.into_iter().rev().map(|(id, _, name, ..)| (id, name)));
        }
        newest_first.reverse();
        Ok(newest_first)
    }
}

/// JSON arrays as one; what is in them is passed on as it came.
fn joined(mut pages: Vec<String>) -> String {
    if pages.len() == 1 {
        return pages.remove(0);
    }
    let inner = |page: &str| {
        let inner = page.trim().strip_prefix('[').and_then(|page| page.strip_suffix(']'));
        inner.map(|inner| inner.trim().to_owned()).filter(|inner| !inner.is_empty())
    };
    let inner: Vec<String> = pages.iter().filter_map(|page| inner(page)).collect();
    format!("[{}]", inner.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_become_one_list() {
        let pages = ["[{\"id\":1}]", "[]", " [ {\"id\":2},{\"id\":3} ]\n"];
        assert_eq!(joined(pages.map(str::to_owned).to_vec()), "[{\"id\":1},{\"id\":2},{\"id\":3}]");
        assert_eq!(joined(vec!["[]".to_owned(), "[]".to_owned()]), "[]");
    }

    #[test]
    fn no_more_is_asked_for_than_is_wanted() {
        let first = Filter { limit: Some(5), ..Filter::default() };
        let second = first.before(40, 3).expect("two are missing");
        assert_eq!((second.limit, second.before), (Some(2), Some(40)));
        assert!(second.before(30, 2).is_none());
        assert!(Filter::default().before(40, 3).is_none(), "the supervisor's own number");
    }
}
