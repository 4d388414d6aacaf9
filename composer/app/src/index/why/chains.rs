//! The shortest way from a wish to each package, all found at once.

use std::collections::VecDeque;

use super::super::document::{Package, Wish};
use super::Link;

/// How each package was reached: by which, and over which of its needs.
pub(super) struct Chains(Vec<Option<From>>);

#[derive(Clone, Copy)]
enum From {
    Wish,
    Need { package: usize, need: usize },
}

impl Chains {
    /// Finds them: from what somebody asks for by name first, then from what every system has, so that of
    /// two ways of one length the one that somebody chose is told.
    pub(super) fn of(packages: &[Package]) -> Self {
        let mut reached = vec![None; packages.len()];
        let mut open = VecDeque::new();
        for asked in [true, false] {
            for (at, package) in packages.iter().enumerate() {
                let by_name = package.wishes.iter().any(is_asked);
                if reached[at].is_none() && !package.wishes.is_empty() && by_name == asked {
                    reached[at] = Some(From::Wish);
                    open.push_back(at);
                }
            }
        }
        while let Some(at) = open.pop_front() {
            for (need, (_, _, to)) in packages[at].needs.iter().enumerate() {
                if reached[*to].is_none() {
                    reached[*to] = Some(From::Need { package: at, need });
                    open.push_back(*to);
                }
            }
        }
        Self(reached)
    }

    /// The way to a package: what was wished for, by whom, and the relations from there.
    pub(super) fn to<'a>(
        &self,
        packages: &'a [Package],
        mut at: usize,
    ) -> Option<(&'a str, &'a Wish, Vec<Link>)> {
        let mut links = Vec::new();
        loop {
            match self.0.get(at).copied().flatten()? {
                From::Wish => {
                    links.reverse();
                    return Some((&packages[at].name, packages[at].wishes.first()?, links));
                }
                From::Need { package, need } => {
                    let (kind, relation, to) = packages[package].needs.get(need)?;
                    let (kind, relation) = (kind.clone(), relation.clone());
                    links.push(Link { kind, relation, package: packages[*to].name.clone() });
                    at = package;
                }
            }
        }
    }
}

/// Whether somebody chose it, other than Debian for every system.
fn is_asked(wish: &Wish) -> bool {
    wish.key.is_some()
}
