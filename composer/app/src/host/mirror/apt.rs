//! What apt's source lists say. Source: sources.list(5), both formats.

/// One place apt gets packages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// Base URI, as written.
    pub uri: String,
    /// The suite, `trixie-security`.
    pub suite: String,
    /// Components, `main`.
    pub components: Vec<String>,
    /// The keyring that must have signed it, if one is named.
    pub signed_by: Option<String>,
}

/// Reads the one-line format: `deb [option=value …] uri suite component …`.
///
/// Lines that are nothing we know are skipped, for they are apt's to complain about.
#[must_use]
pub fn parse_list(text: &str) -> Vec<AptSource> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<AptSource> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t']))?.trim_start();
    let (options, rest) = match rest.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    Some(AptSource {
        uri: words.next()?.to_owned(),
        suite: words.next()?.to_owned(),
        components: words.map(str::to_owned).collect(),
        signed_by: options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("signed-by="))
            .map(str::to_owned),
    })
}

/// Reads the deb822 format: one source for each URI and suite of every enabled stanza of type `deb`.
#[must_use]
pub fn parse_sources(text: &str) -> Vec<AptSource> {
    let mut sources = Vec::new();
    let mut stanza = Stanza::default();
    for line in text.lines().filter(|line| !line.starts_with('#')).chain([""]) {
        if line.trim().is_empty() {
            sources.extend(std::mem::take(&mut stanza).sources());
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = stanza.0.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            stanza.0.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

#[derive(Default)]
struct Stanza(Vec<(String, String)>);

impl Stanza {
    fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    fn words(&self, name: &str) -> impl Iterator<Item = String> {
        self.field(name).unwrap_or_default().split_whitespace().map(str::to_owned)
    }

    fn is_enabled(&self) -> bool {
        let off = ["no", "false", "without", "off", "disable"];
        !self.field("enabled").is_some_and(|value| off.contains(&value.to_ascii_lowercase().as_str()))
    }

    fn sources(self) -> Vec<AptSource> {
        if !self.is_enabled() || !self.words("types").any(|kind| kind == "deb") {
            return Vec::new();
        }
        let source = |uri: String, suite| AptSource {
            uri,
            suite,
            components: self.words("components").collect(),
            signed_by: self.field("signed-by").map(str::to_owned),
        };
        let pairs =
            self.words("uris").flat_map(|uri| self.words("suites").map(move |suite| (uri.clone(), suite)));
        pairs.map(|(uri, suite)| source(uri, suite)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(sources: &[AptSource]) -> Vec<String> {
        let show = |source: &AptSource| {
            let components = source.components.join("+");
            format!(
                "{} {} {components} {}",
                source.uri,
                source.suite,
                source.signed_by.as_deref().unwrap_or("-")
            )
        };
        sources.iter().map(show).collect()
    }

    #[test]
    fn the_one_line_format_is_read_with_options_and_comments() {
        let text = "\
# deb http://commented.example.org/debian trixie main
deb http://a.example.org/debian trixie main contrib # why
deb-src http://a.example.org/debian trixie main
deb\t[ arch=amd64 signed-by=/k.gpg ] https://b.example.org/x ./
debris http://c.example.org/debian trixie main
deb [unclosed http://d.example.org/debian trixie main
deb http://only-a-uri.example.org
";
        let expected =
            ["http://a.example.org/debian trixie main+contrib -", "https://b.example.org/x ./  /k.gpg"];
        assert_eq!(shown(&parse_list(text)), expected);
    }

    #[test]
    fn the_deb822_format_is_read_stanza_by_stanza() {
        let text = "\
# a comment
Types: deb deb-src
URIs: http://a.example.org/debian
  http://b.example.org/debian
Suites: trixie
# in between
 trixie-updates
Components: main
signed-by: /usr/share/keyrings/k.gpg

Types: deb
URIs: http://off.example.org/debian
Suites: trixie
Enabled: No

Types: deb-src
URIs: http://source.example.org/debian
Suites: trixie
";
        let expected = [
            "http://a.example.org/debian trixie main /usr/share/keyrings/k.gpg",
            "http://a.example.org/debian trixie-updates main /usr/share/keyrings/k.gpg",
            "http://b.example.org/debian trixie main /usr/share/keyrings/k.gpg",
            "http://b.example.org/debian trixie-updates main /usr/share/keyrings/k.gpg",
        ];
        assert_eq!(shown(&parse_sources(text)), expected);
    }

    #[test]
    fn rubbish_gives_no_source_and_no_panic() {
        for text in
            ["", "\n\n", ":", " : \n", "deb", "Types:deb\nURIs:\nSuites: x", "\u{feff}deb", "é: é\n é"]
        {
            assert_eq!(parse_list(text), []);
            assert_eq!(parse_sources(text), []);
        }
    }
}
