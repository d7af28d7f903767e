//! The package inside a booted Debian, commanded by ordinary users over the
//! system bus. Each test boots its own; each runs on both releases.

#![allow(missing_docs)]

mod audit;
mod buses;
mod jobs;
mod journal;
mod package;
mod privacy;
mod queue;
mod secrets;
mod support;
mod trust;

use fetchml_tests::{Container, Debian, available};

/// Makes a test of each function, once for each release.
macro_rules! on_both_releases {
    ($($room:ident::$name:ident),+ $(,)?) => {
        mod bookworm {
            $(#[test] fn $name() { super::with_package(super::Debian::Bookworm, super::$room::$name); })+
        }
        mod trixie {
            $(#[test] fn $name() { super::with_package(super::Debian::Trixie, super::$room::$name); })+
        }
    };
}

on_both_releases! {
    package::installing_starts_the_service,
    package::units_are_clean_and_exposed_no_more_than_promised,
    package::removing_leaves_state_and_purging_nothing,
    package::upgrading_leaves_jobs_running,
    jobs::a_member_of_the_group_runs_a_job,
    jobs::refusals_are_the_profiles_and_not_the_units,
    jobs::killing_the_supervisor_loses_nothing,
    jobs::restarting_the_supervisor_keeps_jobs,
    jobs::stopping_the_jobs_unit_ends_them,
    privacy::a_job_of_another_is_one_that_is_not_there,
    privacy::processes_are_hidden_where_the_machine_hides_them,
    privacy::an_analyst_reads_everything_and_acts_on_nothing,
    queue::directories_of_waiting_jobs_outlive_supervisor_and_machine,
    queue::a_priority_above_the_usual_needs_an_authorization,
    queue::a_drain_waits_and_a_shutdown_ends_what_runs,
    secrets::a_secret_is_encrypted_and_for_those_it_was_added_for,
    trust::others_may_not_submit,
    trust::users_see_only_their_own_jobs,
    trust::the_journal_has_each_record_and_explains_it,
    journal::imitations_are_told_apart_and_change_no_verdict,
    journal::what_a_rate_limit_dropped_is_named_and_sent_again_once,
    journal::a_journald_that_was_away_delays_nothing_and_gets_what_it_missed,
    journal::the_journal_knows_of_what_was_cut_from_the_log,
    audit::who_is_let_in_and_who_gets_a_role_is_recorded,
    audit::only_root_and_the_granted_read_the_log_and_stand_in_it,
    audit::neither_jobs_nor_agents_nor_users_read_the_key,
    buses::the_bus_is_introspected_and_called_by_hand,
    buses::a_python_client_runs_a_job_on_the_bus,
    buses::the_socket_serves_the_group_without_a_bus,
}

fn with_package(debian: Debian, test: fn(&Container)) {
    if let Some(container) = available(Container::boot_with_package(debian)) {
        test(&container);
        container.power_off();
    }
}
