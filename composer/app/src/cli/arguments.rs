//! The command line, as a type.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use goni_model::name::{InvalidName, Name, Url};

use crate::cli::{
    build, check, completions, diff, inspect, lock, plan, run, schema, sign, size, smoke, store, target,
    toolbox, verify, why,
};
use crate::workshop::Choices;

/// Turns a recipe into a disk image that boots, and proves it.
#[derive(Debug, Parser)]
#[command(name = "goni-compose", version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Arguments {
    /// Options of every verb.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Check a recipe and all it names; say where every value comes from
    Check(check::CheckArguments),
    /// Resolve a recipe's packages and write its lock
    Lock(lock::LockArguments),
    /// Keep and move all bytes of a lock; look after the cache's store
    Store(store::StoreArguments),
    /// Show what a build would do
    Plan(plan::PlanArguments),
    /// Build an image and verify it
    Build(build::BuildVerb),
    /// Read a finished image back and check it
    Verify(verify::VerifyArguments),
    /// Show what an image is made of
    Inspect(inspect::InspectArguments),
    /// Show what differs between two images
    Diff(diff::DiffArguments),
    /// Sign the digests of finished images with a key of yours
    Sign(sign::SignArguments),
    /// Say who brought a path of an image, or a package, and why
    Why(why::WhyArguments),
    /// Say what takes the room of an image's root, and what grew
    Size(size::SizeArguments),
    /// Build, then boot the image in QEMU and check it from inside
    Smoke(smoke::SmokeArguments),
    /// Build, then boot the image in QEMU at this terminal
    Run(run::RunArguments),
    /// Make, check or draft a target
    Target(target::TargetArguments),
    /// Print the JSON Schema of recipes, targets, overlays, rules, graphics drivers, checks, scenarios or machines
    Schema(schema::SchemaArguments),
    /// Print completions for a shell
    Completions(completions::CompletionsArguments),
    /// Run a program of the toolbox
    Toolbox(toolbox::ToolboxArguments),
}

/// Options of every verb.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// Where an archive is fetched from: URL for `debian`, or ARCHIVE=URL
    #[arg(long, global = true, value_name = "[ARCHIVE=]URL", help_heading = "Global options")]
    pub mirror: Vec<Mirror>,
    /// Where packages are that a mirror dropped: a URL, with {archive}, {date}, {path} or {sha256} in it
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub fallback_mirror: Vec<String>,
    /// Where downloads and finished stages are kept
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub cache: Option<PathBuf>,
    /// Where images are put [default: out, in the project]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub out: Option<PathBuf>,
    /// Fetch nothing: what is not in the cache is an error
    #[arg(long, global = true, help_heading = "Global options")]
    pub offline: bool,
    /// Whether messages are coloured
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", help_heading = "Global options")]
    pub color: Color,
    /// Say only what is wrong
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub verbose: bool,
}

impl Global {
    /// What these options choose for work that acts.
    #[must_use]
    pub fn choices(&self) -> Choices {
        let given = |archive: &str| self.mirror.iter().rev().find(|mirror| mirror.archive == archive);
        let others = self.mirror.iter().filter(|mirror| mirror.archive != "debian");
        Choices {
            mirror: given("debian").map(|mirror| mirror.url.to_string()),
            mirrors: others.map(|mirror| (mirror.archive.clone(), mirror.url.to_string())).collect(),
            fallbacks: self.fallback_mirror.clone(),
            cache: self.cache.clone(),
            trees: None,
            offline: self.offline,
        }
    }
}

/// Whether messages are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// If they go to a terminal that has colours.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Report {
    /// Lines for people.
    Text,
    /// One JSON value.
    Json,
}

/// How what an image is made of is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// Lines for people.
    Text,
    /// One JSON value.
    Json,
    /// Tables for pull requests.
    Markdown,
}

/// Where an archive is fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The archive: `debian`, `debian-security`, or a vendor's by the recipe's name.
    pub archive: String,
    /// Its address.
    pub url: Url,
}

impl FromStr for Mirror {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (archive, url) = match text.split_once('=') {
            Some((archive, url)) if !archive.contains(':') => (archive.parse::<Name>()?, url),
            _ => ("debian".parse::<Name>()?, text),
        };
        Ok(Self { archive: archive.to_string(), url: url.parse()? })
    }
}

/// A payload given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadFile {
    /// Its name in the recipe.
    pub name: Name,
    /// The file.
    pub path: PathBuf,
}

/// Text that gives no payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPayload {
    /// There is no `=`, or nothing behind it.
    #[error("write NAME=FILE")]
    Malformed,
    /// The name is none.
    #[error(transparent)]
    Name(#[from] InvalidName),
}

impl FromStr for PayloadFile {
    type Err = InvalidPayload;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, path)) if !path.is_empty() => Ok(Self { name: name.parse()?, path: path.into() }),
            _ => Err(InvalidPayload::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_mirror_without_a_name_is_debians() {
        let mirror: Mirror = "http://mirror.example/debian?a=b".parse().unwrap();
        assert_eq!(
            (mirror.archive.as_str(), mirror.url.as_str()),
            ("debian", "http://mirror.example/debian?a=b")
        );
        let mirror: Mirror = "debian-security=http://mirror.example/s".parse().unwrap();
        assert_eq!(mirror.archive, "debian-security");
        assert!("ftp://x/".parse::<Mirror>().is_err());
    }

    #[test]
    fn a_payload_is_a_name_and_a_file() {
        let payload: PayloadFile = "goni-http=a=b".parse().unwrap();
        assert_eq!((payload.name.as_str(), payload.path), ("goni-http", PathBuf::from("a=b")));
        for text in ["goni-http", "goni-http=", "=x", "../x=y"] {
            assert!(text.parse::<PayloadFile>().is_err(), "{text}");
        }
    }
}
