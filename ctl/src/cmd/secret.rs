//! `secret`: keep secrets for jobs. A value comes from a file or from standard input,
//! never from the command line, which everybody can read in the list of processes.

use crate::cli::{FromWhere, Secret};
use crate::context::{Context, Go};
use crate::error::{Failure, Result};
use crate::link::unreadable;
use crate::view;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde_json::json;
use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::OwnedFd;
use std::path::Path;
use zeroize::Zeroizing;

/// The supervisor takes no longer ones.
const MAX_VALUE_BYTES: usize = 8 << 10;

pub(crate) async fn run(context: &Context, secret: &Secret) -> Result<u8> {
    match secret {
        Secret::Add { name, holders, from } => {
            context.link.add_secret(name, holders, &value(from)?).await?;
            if context.json {
                context.print_json(&json!({"version": 1, "secret": name}).to_string())?;
            } else {
                let use_it = context.command(format_args!("submit --secret {name} -- COMMAND"));
                context.tell(&format_args!("secret {name} is kept; use it with `{use_it}`"));
            }
        }
        Secret::Rotate { name, from } => {
            context.link.rotate_secret(name, &value(from)?).await?;
            if context.json {
                context.print_json(&json!({"version": 1, "secret": name}).to_string())?;
            } else {
                context.tell(&format_args!(
                    "secret {name} has a new value; jobs that run keep the old one"
                ));
            }
        }
        Secret::Remove { name, sure } => {
            let what = format!("forget secret {name}; jobs that wait for it will fail");
            match context.confirm(&what, *sure)? {
                Go::Yes => {}
                Go::No => return Ok(1),
                Go::Pretend => return Ok(0),
            }
            context.link.remove_secret(name).await?;
            if context.json {
                context.print_json(&json!({"version": 1, "secret": name}).to_string())?;
            }
        }
        Secret::List => {
            let text = context.link.secrets().await?;
            if context.json {
                context.print_json(&text)?;
            } else {
                let kept: Vec<view::kept::Kept> =
                    serde_json::from_str(&text).map_err(unreadable)?;
                context.print(&view::kept::table(&kept, context.width, context.style))?;
            }
        }
    }
    Ok(0)
}

/// The value in a memory file that nobody can change any more.
fn value(from: &FromWhere) -> Result<OwnedFd> {
    let bytes = match &from.file {
        Some(path) => {
            let failed = |e| Failure::io("cannot read", path.display(), &e);
            read(&mut File::open(path).map_err(failed)?, path)?
        }
        None if io::stdin().is_terminal() => {
            return Err(Failure::usage("the value is missing")
                .hint("write it into a file and give that with --file, or pipe it in"));
        }
        None => read(&mut io::stdin().lock(), Path::new("standard input"))?,
    };
    let make = || -> rustix::io::Result<OwnedFd> {
        let file = memfd_create("secret", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let n = rustix::io::write(&file, rest)?;
            rest = rest.get(n..).unwrap_or_default();
        }
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW)?;
        Ok(file)
    };
    make().map_err(|e| Failure::io("cannot make", "a memory file for the value", &e.into()))
}

fn read(from: &mut dyn Read, name: &Path) -> Result<Zeroizing<Vec<u8>>> {
    // With room for all of it, so that it is never moved and leaves no copy.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_VALUE_BYTES + 2));
    let failed = |e| Failure::io("cannot read", name.display(), &e);
    from.take(MAX_VALUE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_VALUE_BYTES {
        let what = format!("{} is longer than {MAX_VALUE_BYTES} bytes", name.display());
        return Err(Failure::no(what).hint("a secret is a key or a password, no data"));
    }
    Ok(bytes)
}
