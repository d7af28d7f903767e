//! `${NAME}` in a value: a systemd credential of that name, or else a variable of the
//! supervisor's environment.

use std::path::Path;

/// Longest credential that is read.
const MAX_BYTES: u64 = 64 * 1024;

/// The value with its references replaced.
pub(super) fn expand(text: &str) -> Result<String, String> {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, after) = after.split_once('}').ok_or("has ${ and no } after it")?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.contains(":-") || name.contains('-') {
            return Err("has a default in its reference: write ${NAME} alone".to_owned());
        }
        if name.is_empty()
            || !name.chars().all(is_name)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err("has a reference without a name: write ${NAME}, of letters, digits and _"
                .to_owned());
        }
        result.push_str(before);
        result.push_str(&look_up(name)?);
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

fn look_up(name: &str) -> Result<String, String> {
    if let Some(directory) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        let path = Path::new(&directory).join(name);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() > MAX_BYTES => {
                return Err(format!(
                    "refers to the credential {name}, which is longer than 64 KiB"
                ));
            }
            Ok(_) => {
                let text = std::fs::read_to_string(&path).map_err(|e| {
                    format!("refers to the credential {name}, which cannot be read: {e}")
                })?;
                return Ok(text.trim_end_matches('\n').to_owned());
            }
            Err(_) => {}
        }
    }
    std::env::var(name).map_err(|_| {
        format!("refers to ${{{name}}}, but {name} is not set: give the service a credential or a variable of that name")
    })
}
