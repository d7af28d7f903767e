//! What the supervisor reads of an agent: reports, answers, frames of the log. All
//! of it may have been written by a job that took its agent over.
#![no_main]

use fetchml_api::agent::{AgentPlan, AgentReport, DeniedCalls};
use fetchml_api::log::FrameHeader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(report) = AgentReport::decode(bytes) {
        // What is accepted is exactly what an agent would write of it.
        assert_eq!(AgentReport::decode(&report.encode()), Ok(report));
    }
    if let Some(denied) = DeniedCalls::decode(bytes) {
        assert_eq!(DeniedCalls::decode(&denied.encode()), Some(denied));
    }
    if let Ok(plan) = AgentPlan::decode(bytes) {
        let again = plan.encode().map(|bytes| AgentPlan::decode(&bytes));
        assert!(matches!(again, Ok(Ok(same)) if same == plan));
    }
    if let Some((header, _)) = bytes.split_first_chunk() {
        let _ = FrameHeader::decode(header);
    }
});
