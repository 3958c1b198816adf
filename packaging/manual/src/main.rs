//! Writes the man pages and shell completions of `agent-metrics` into a folder: `agent-metrics-manual VERSION FOLDER`.
//!
//! They are made of the program's own command line, so they say what `--help` says. The program itself knows nothing of
//! them. It fails when the folder cannot be written.

// The program reads the fields; here only their names and texts count.
#[path = "../../../src/program/arguments.rs"]
#[allow(dead_code)]
mod arguments;

use std::fs;
use std::io::{Error, Result};
use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::{Shell, generate_to};

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(version), Some(folder)) = (words.next(), words.next()) else {
        return Err(Error::other("usage: agent-metrics-manual VERSION FOLDER"));
    };
    let folder = PathBuf::from(folder);
    let (man, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;

    let command = arguments::Arguments::command()
        .name("agent-metrics")
        .version(version);
    clap_mangen::generate_to(command.clone(), &man)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        generate_to(shell, &mut command.clone(), "agent-metrics", &completions)?;
    }
    Ok(())
}
