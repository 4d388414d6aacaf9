//! What the network reaches: ports for the firewall of the overlay `base`, and goni-http's own filter.
//!
//! goni-http answers its node alone unless the recipe opens a port of its; systemd's filter then lets
//! addresses through both ways, so a rule for what it sends is added: it answers, and calls nobody.
//! Source: nft(8); systemd.resource-control(5), `IPAddressAllow=`.

use goni_model::port::Port;

use super::Setting;

/// The files for open ports, of which some may be goni-http's.
pub(super) fn network(open: &[Port], of_service: &[Port]) -> Vec<Setting> {
    if open.is_empty() {
        return Vec::new();
    }
    let elements: Vec<String> =
        open.iter().map(|port| format!("{} . {}", port.protocol.name(), port.number)).collect();
    let mut rules = format!("add element inet goni open {{ {} }}\n", elements.join(", "));
    let mut settings = Vec::new();
    if open.iter().any(|port| of_service.contains(port)) {
        rules.push_str(
            "# Others may call goni-http now. It calls nobody.\n\
             add chain inet goni output { type filter hook output priority filter; policy accept; }\n\
             add rule inet goni output meta skuid \"goni\" oifname != \"lo\" \
             ct state != { established, related } reject with icmpx admin-prohibited\n",
        );
        settings.push((
            "usr/lib/systemd/system/goni-http.service.d/90-open.conf",
            "[Service]\nIPAddressAllow=any\n".to_owned(),
        ));
    }
    settings.push(("etc/nftables.d/50-recipe.nft", rules));
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(texts: &[&str]) -> Vec<Port> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_recipe_that_opens_nothing_leaves_the_rules_alone() {
        assert_eq!(network(&[], &ports(&["7000/tcp"])), []);
    }

    #[test]
    fn a_port_of_somebody_else_does_not_open_the_service() {
        let settings = network(&ports(&["53/udp", "22/tcp"]), &ports(&["7000/tcp"]));
        let rules = "add element inet goni open { udp . 53, tcp . 22 }\n".to_owned();
        assert_eq!(settings, [("etc/nftables.d/50-recipe.nft", rules)]);
    }

    #[test]
    fn a_service_that_is_open_answers_and_does_not_call() {
        let settings = network(&ports(&["7000/tcp"]), &ports(&["7000/tcp"]));
        let places: Vec<&str> = settings.iter().map(|(place, _)| *place).collect();
        assert_eq!(
            places,
            ["usr/lib/systemd/system/goni-http.service.d/90-open.conf", "etc/nftables.d/50-recipe.nft"]
        );
        assert_eq!(settings[0].1, "[Service]\nIPAddressAllow=any\n");
        assert!(settings[1].1.starts_with("add element inet goni open { tcp . 7000 }\n"));
        assert!(settings[1].1.ends_with(
            "add rule inet goni output meta skuid \"goni\" oifname != \"lo\" \
             ct state != { established, related } reject with icmpx admin-prohibited\n"
        ));
    }
}
