//! `why`: who brought a path of an image, or a package, and why.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::cli::arguments::{Global, Report};
use crate::cli::terminal::Terminal;
use crate::failure::{Class, Classify, Failure};
use crate::host::project::ProjectFiles;
use crate::index::{self, Answer, Asked, Chain, Found, HandAnswer, Index, PackageAnswer, Setting, What};
use crate::project;

/// Arguments of `why`.
#[derive(Debug, Args)]
pub struct WhyArguments {
    /// The image, raw or qcow2, or the recipe it was built from
    #[arg(value_name = "IMAGE|RECIPE")]
    pub image: PathBuf,
    /// A path of the running system; initrd:/…, esp:/…, app:/… and state:/… name one elsewhere
    #[arg(value_name = "PATH", required_unless_present = "package")]
    pub path: Option<String>,
    /// Say why this package is there
    #[arg(long, value_name = "NAME", conflicts_with = "path")]
    pub package: Option<String>,
    /// The index of the image, if it is not beside it
    #[arg(long, value_name = "FILE")]
    pub index: Option<PathBuf>,
    /// How to show the answer
    #[arg(long, value_name = "FORM", default_value = "text")]
    pub report: Report,
}

/// A question without an answer.
#[derive(Debug, thiserror::Error)]
#[error("{image} has no {what} `{asked}`")]
struct Nothing {
    image: String,
    what: &'static str,
    asked: String,
    near: Vec<String>,
}

impl Classify for Nothing {
    fn class(&self) -> Class {
        Class::Recipe
    }

    fn hint(&self) -> Option<String> {
        let quoted: Vec<String> = self.near.iter().map(|near| format!("`{near}`")).collect();
        (!quoted.is_empty()).then(|| format!("did you mean {}?", quoted.join(" or ")))
    }
}

/// Answers, and fails if there is nothing of that name.
///
/// # Errors
/// Class `Recipe`, exit code 2, if there is no such path or package; `Check` if the index is damaged or of
/// another image; `Environment` if it is not there.
pub fn run(arguments: &WhyArguments, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let during = |failure: Failure| failure.during(format!("asking `{}`", arguments.image.display()));
    let index = read(&arguments.image, arguments.index.as_deref(), global, terminal).map_err(during)?;
    let (asked, what) = match (&arguments.path, &arguments.package) {
        (_, Some(package)) => (Asked::Package(package), "package"),
        (path, None) => (Asked::Path(path.as_deref().unwrap_or("/")), "path"),
    };
    let answer = index.why(asked);
    if answer.found.is_empty() && answer.package.is_none() {
        let Answer { image, asked, near, .. } = answer;
        return Err(during(Nothing { image, what, asked, near }.into()));
    }
    terminal.show(match arguments.report {
        Report::Text => text(&answer),
        Report::Json => {
            let text = serde_json::to_string_pretty(&answer);
            text.expect("names, texts and numbers have a form in JSON") + "\n"
        }
    })
}

/// The index of an image, or of the image that was built last from a recipe.
///
/// # Errors
/// There is none, it is damaged or of another image; or the recipe cannot be loaded.
pub(super) fn read(
    image: &Path,
    index: Option<&Path>,
    global: &Global,
    terminal: &Terminal,
) -> Result<Index, Failure> {
    if image.extension().is_none_or(|extension| extension != "toml") {
        return Ok(index::of_image(image, index)?);
    }
    let project = project::load(&ProjectFiles, image)?;
    let out = global.out.clone().unwrap_or_else(|| project.root.join("out"));
    let (name, version) = (&project.recipe.name, &project.recipe.version);
    let built = out.join(format!("{name}_{version}_{}.raw", project.target.arch));
    let index = index::of_image(&built, index)?;
    let now = project.origins.iter().map(|(key, it)| (key.as_str(), it.value.as_str()));
    let then = index.recipe.iter().map(|(key, it)| (key.as_str(), it.value.as_str()));
    if !now.eq(then) {
        terminal.progress().warn("the recipe has changed since: this is about the image as it was built");
    }
    Ok(index)
}

/// The answer in lines.
fn text(answer: &Answer) -> String {
    let mut text = String::new();
    if let Some(package) = &answer.package {
        text.push_str(&format!("package {}\n", described(package)));
        text.push_str(&chain(package.chain.as_ref(), "  "));
    }
    let mut told: Vec<&[HandAnswer]> = Vec::new();
    for found in &answer.found {
        text.push_str(&format!("{}\n", head(found)));
        if told.contains(&found.hands.as_slice()) {
            text.push_str("  as above\n");
            continue;
        }
        told.push(&found.hands);
        let several = found.hands.len() > 1;
        for (number, hand) in (1..).zip(&found.hands) {
            let (mark, indent) =
                if several { (format!("{number}. "), "     ") } else { (String::new(), "  ") };
            text.push_str(&format!("  {mark}{}\n", deed(hand)));
            text.push_str(&because(hand, indent));
        }
    }
    text
}

/// Where something is, and what.
fn head(found: &Found) -> String {
    let place = match found.place {
        index::Place::Root => String::new(),
        other => format!("{}:", other.name()),
    };
    let what = match (found.what, &found.target) {
        (None, _) => "not in the image".to_owned(),
        (Some(What::Link), Some(target)) => format!("link to {target}"),
        (Some(What::Directory), _) => "directory".to_owned(),
        (Some(What::File), _) => format!("file of {} bytes", found.size.unwrap_or_default()),
        _ => "special file".to_owned(),
    };
    format!("{place}{}: {what}", found.path)
}

fn deed(hand: &HandAnswer) -> String {
    let by = match &hand.by.package {
        Some(package) => described(package),
        None => hand.by.name.clone(),
    };
    let why = hand.why.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} by {} {by}{why}", hand.deed, hand.by.kind.name())
}

fn described(package: &PackageAnswer) -> String {
    let PackageAnswer { name, version, archive, suites, .. } = package;
    let suites = if suites.is_empty() { String::new() } else { format!(": {}", suites.join(", ")) };
    format!("{name}={version} ({archive}{suites})")
}

/// What brought whoever had a hand in something.
fn because(hand: &HandAnswer, indent: &str) -> String {
    let mut text = String::new();
    if let Some(what) = &hand.by.what {
        let stage = if hand.by.kind == index::Kind::Stage { "which " } else { "" };
        text.push_str(&format!("{indent}{stage}{what}\n"));
    }
    for Setting { key, value, origin } in &hand.by.recipe {
        text.push_str(&format!("{indent}{origin}  {key} = {value}\n"));
    }
    if let Some(package) = &hand.by.package {
        text.push_str(&chain(package.chain.as_ref(), indent));
    }
    text
}

/// The way from a wish to a package, a line each.
fn chain(chain: Option<&Chain>, indent: &str) -> String {
    let Some(Chain { wished, wish, recipe, links }) = chain else {
        return format!("{indent}nothing asks for it\n");
    };
    let mut text = String::new();
    if let Some(Setting { key, value, origin }) = recipe {
        text.push_str(&format!("{indent}{origin}  {key} = {value}\n"));
    }
    let place = wish.place.as_deref().map(|place| format!(", {place}")).unwrap_or_default();
    text.push_str(&format!("{indent}{wished} ({}{place})\n", wish.by));
    for link in links {
        text.push_str(&format!("{indent}→ {} ({}: {})\n", link.package, link.kind, link.relation));
    }
    text
}
