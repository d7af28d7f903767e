//! From drafts to a complete profile: inheritance, and the checks that need
//! all values.

use crate::paths;
use crate::problem::{Fault, Problem, choices};
use crate::profile::{Denials, Profile, Shown};
use crate::reader::Draft;
use std::collections::BTreeMap;

/// Completes the profile `name`.
pub(crate) fn resolve(
    name: &str,
    drafts: &BTreeMap<String, Draft>,
    filter_exists: impl Fn(&str) -> bool,
) -> Result<Profile, Vec<Problem>> {
    let merged = merge(name, drafts).map_err(|problem| vec![problem])?;
    let mut problems = Vec::new();
    let mut fault = |key: &str, item: Option<&str>, fault: Fault| {
        problems.push(merged.problem(fault, key, item));
    };
    if merged.drop_all_caps == Some(false) && merged.allowed_caps.iter().all(Vec::is_empty) {
        fault(
            "drop_all_caps",
            None,
            Fault::new(
                "false is refused: it would keep capabilities that nobody named",
                "write true, and name in allowed_caps those that the job keeps in its user namespace",
            ),
        );
    }
    for path in &merged.hide {
        fault(
            "root.hide",
            Some(path),
            Fault::new(
                format!("{path:?} is shown by no parent"),
                "write it as the parent does, or remove it",
            ),
        );
    }
    if let Some(filter) = merged.seccomp_profile.as_deref().filter(|filter| !filter_exists(filter))
    {
        fault(
            "seccomp_profile",
            None,
            Fault::new(
                format!("there is no usable seccomp profile {filter:?}"),
                "use \"default-hardened\", or put NAME.json into the seccomp directory",
            ),
        );
    }
    complete(name, merged, &mut problems).filter(|_| problems.is_empty()).ok_or(problems)
}

/// The draft with everything its ancestors say and it does not.
fn merge(name: &str, drafts: &BTreeMap<String, Draft>) -> Result<Draft, Problem> {
    let mut merged = Draft::default();
    let mut seen: Vec<&str> = Vec::new();
    let mut next = Some(name);
    while let Some((current, draft)) = next.and_then(|name| drafts.get_key_value(name)) {
        let refuse = |message: String, remedy: String| {
            Err(draft.problem(Fault::new(message, remedy), "extends", None))
        };
        seen.push(current);
        inherit(&mut merged, draft)?;
        next = draft.extends.as_deref();
        match next {
            Some(parent) if seen.contains(&parent) => {
                let chain = format!("{} → {parent}", seen.join(" → "));
                return refuse(
                    format!("goes in a circle: {chain}"),
                    "let one of them stand alone".to_owned(),
                );
            }
            Some(parent) if !drafts.contains_key(parent) => {
                let remedy = choices(
                    parent,
                    drafts.keys().map(String::as_str).filter(|known| *known != current),
                );
                return refuse(format!("there is no usable profile {parent:?}"), remedy);
            }
            _ => {}
        }
    }
    Ok(merged)
}

/// Takes from an ancestor what no nearer one has said. Paths come after the
/// ancestor's, variables are replaced by name.
fn inherit(to: &mut Draft, from: &Draft) -> Result<(), Problem> {
    if to.file.is_empty() {
        to.lie_in_file_of(from);
    }
    // What descendants hide is hidden in their ancestors alone.
    let hidden = std::mem::take(&mut to.hide);
    to.show = joined(&from.show, &to.show, &hidden, to, "root.show")?;
    to.devices = joined(&from.devices, &to.devices, &hidden, to, "root.devices")?;
    to.hide = hidden.into_iter().filter(|path| !shows(from, path)).collect();
    to.hide.extend(from.hide.clone());
    for (name, value) in &from.env {
        to.env.entry(name.clone()).or_insert_with(|| value.clone());
    }
    for (name, reason) in &from.allowed_calls {
        to.allowed_calls.entry(name.clone()).or_insert_with(|| reason.clone());
    }
    macro_rules! take {
        ($($field:ident)*) => { $( if to.$field.is_none() { to.$field.clone_from(&from.$field); } )* };
    }
    take! {
        description network_mode read_only_root no_new_privileges drop_all_caps allowed_caps user_ns
        run_as_uid run_as_gid seccomp_profile denials quiet_calls max_runtime_usec landlock stop_grace_usec terminals
        tmp_bytes shm_bytes open_files pids memory_bytes cpus cpuset disk_bytes log_bytes cpu_weight io_weight
    }
    Ok(())
}

fn shows(draft: &Draft, path: &str) -> bool {
    draft.show.iter().chain(&draft.devices).any(|shown| shown.path == path)
}

/// The ancestor's list without what is hidden, then the own one.
fn joined(
    ancestor: &[Shown],
    own: &[Shown],
    hidden: &[String],
    to: &Draft,
    key: &str,
) -> Result<Vec<Shown>, Problem> {
    let mut out: Vec<Shown> =
        ancestor.iter().filter(|shown| !hidden.contains(&shown.path)).cloned().collect();
    for shown in own {
        paths::not_yet(&out, &shown.path)
            .map_err(|fault| to.problem(fault, key, Some(&shown.path)))?;
        out.push(shown.clone());
    }
    Ok(out)
}

/// The profile, or a problem for each value that nobody gave.
fn complete(name: &str, draft: Draft, problems: &mut Vec<Problem>) -> Option<Profile> {
    let mut missing = |key: &str| {
        let fault = Fault::new("is missing", "set it, or inherit it with extends = \"default\"");
        problems.push(draft.problem(fault, key, None));
    };
    macro_rules! given {
        ($($field:ident: $key:literal)*) => { $(
            let $field = draft.$field.clone();
            if $field.is_none() { missing($key); }
        )* };
    }
    given! {
        description: "description" network_mode: "network_mode" read_only_root: "read_only_root"
        no_new_privileges: "no_new_privileges" drop_all_caps: "drop_all_caps" user_ns: "user_ns"
        run_as_uid: "run_as_uid" run_as_gid: "run_as_gid" seccomp_profile: "seccomp_profile"
        max_runtime_usec: "max_runtime_hours" landlock: "landlock" stop_grace_usec: "stop_grace_seconds"
        tmp_bytes: "root.tmp_size" shm_bytes: "root.shm_size" open_files: "limits.open_files"
        pids: "limits.pids" log_bytes: "limits.log"
    }
    Some(Profile {
        name: name.to_owned(),
        description: description?,
        network_mode: network_mode?,
        networks: vec![network_mode?],
        read_only_root: read_only_root?,
        no_new_privileges: no_new_privileges?,
        drop_all_caps: drop_all_caps?,
        allowed_caps: draft.allowed_caps.unwrap_or_default(),
        user_ns: user_ns?,
        run_as_uid: run_as_uid?,
        run_as_gid: run_as_gid?,
        seccomp_profile: seccomp_profile?,
        allowed_calls: draft.allowed_calls,
        weaker_calls: Vec::new(),
        denials: draft.denials.unwrap_or(Denials::Count),
        quiet_calls: draft.quiet_calls.unwrap_or_default(),
        max_runtime_usec: max_runtime_usec?,
        landlock: landlock?,
        stop_grace_usec: stop_grace_usec?,
        show: draft.show,
        devices: draft.devices,
        terminals: draft.terminals.unwrap_or(false),
        tmp_bytes: tmp_bytes?,
        shm_bytes: shm_bytes?,
        open_files: open_files?,
        pids: pids?,
        memory_bytes: draft.memory_bytes,
        cpus: draft.cpus,
        cpuset: draft.cpuset,
        disk_bytes: draft.disk_bytes,
        log_bytes: log_bytes?,
        cpu_weight: draft.cpu_weight.unwrap_or(Profile::USUAL_WEIGHT),
        io_weight: draft.io_weight.unwrap_or(Profile::USUAL_WEIGHT),
        env: draft.env,
    })
}
