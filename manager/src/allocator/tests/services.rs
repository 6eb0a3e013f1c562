//! Virtual addresses of services.

use skep_proto::swarmkit::endpoint_spec::ResolutionMode;

use super::*;

/// A service in these networks, that publishes these ports.
fn attached(id: &str, networks: &[&str], ports: &[u32]) -> Service {
    let mut service = service(id, publishing(ports));
    attach(&mut service, networks);
    service
}

fn attach(service: &mut Service, networks: &[&str]) {
    let target =
        |name: &&str| NetworkAttachmentConfig { target: format!("n-{name}"), ..Default::default() };
    let task = TaskSpec { networks: networks.iter().map(target).collect(), ..Default::default() };
    service.spec.as_mut().unwrap().task = Some(task.into());
}

#[tokio::test(start_paused = true)]
async fn a_service_has_an_address_in_each_of_its_networks() {
    let running = Running::begin().await;
    running.put(network("back", "overlay", false, false)).await;
    running.settle().await;
    let cases: [(&str, Service, &str); 6] = [
        ("one network", attached("a", &["span"], &[]), "n-span 10.0.1.2/24"),
        ("two", attached("b", &["back", "span"], &[]), "n-back 10.0.2.2/24, n-span 10.0.1.3/24"),
        ("ports", attached("c", &[], &[80]), "n-ingress 10.0.0.2/24"),
        (
            "ports come first",
            attached("d", &["span"], &[81]),
            "n-ingress 10.0.0.3/24, n-span 10.0.1.4/24",
        ),
        ("of the node", attached("e", &["bridge"], &[]), "n-bridge"),
        ("none", attached("f", &[], &[]), ""),
    ];
    for (what, service, expected) in cases {
        let id = service.id.clone();
        running.put(service).await;
        running.settle().await;
        assert_eq!(vips(&running.store.view(), &id), expected, "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_update_gives_and_takes_only_what_changes() {
    let running = Running::begin().await;
    running.put(network("back", "overlay", false, false)).await;
    running.put(attached("a", &["span"], &[80])).await;
    let steps: [(&[&str], &[u32], ResolutionMode, &str); 7] = [
        (&["span"], &[80], ResolutionMode::Vip, "n-ingress 10.0.0.2/24, n-span 10.0.1.2/24"),
        (
            &["span", "back"],
            &[80, 81],
            ResolutionMode::Vip,
            "n-ingress 10.0.0.2/24, n-span 10.0.1.2/24, n-back 10.0.2.2/24",
        ),
        (&["back"], &[], ResolutionMode::Vip, "n-back 10.0.2.2/24"),
        (&["back"], &[], ResolutionMode::Dnsrr, ""),
        // What was free rests: the next ones come first.
        (&["back", "span"], &[], ResolutionMode::Vip, "n-back 10.0.2.3/24, n-span 10.0.1.3/24"),
        (&["span"], &[], ResolutionMode::Vip, "n-span 10.0.1.3/24"),
        (&[], &[], ResolutionMode::Vip, ""),
    ];
    for (networks, ports, mode, expected) in steps {
        running
            .change_service("a", |service| {
                attach(service, networks);
                let mut endpoint = publishing(ports).unwrap();
                endpoint.mode = mode.into();
                service.spec.as_mut().unwrap().endpoint = Some(endpoint);
            })
            .await;
        running.settle().await;
        assert_eq!(vips(&running.store.view(), "a"), expected);
    }
    let view = running.store.view();
    for (name, used) in [("ingress", 1), ("span", 1), ("back", 1)] {
        let network = view.get_text::<Network>(&format!("n-{name}")).unwrap();
        assert_eq!(network_state(&view, network).unwrap()[0].used, used, "{name}: its gateway");
        assert_eq!(running.book.free(&network.id.parse().unwrap(), ipam::Family::V4), Some(253));
    }
}

#[tokio::test(start_paused = true)]
async fn a_removed_service_gives_everything_back() {
    let running = Running::begin().await;
    running.put(attached("a", &["span"], &[80])).await;
    running.settle().await;
    let free = |name: &str| running.book.free(&name.parse().unwrap(), ipam::Family::V4);
    assert_eq!((free("n-span"), free("n-ingress")), (Some(252), Some(252)));
    running.remove::<Service>("a").await;
    running.settle().await;
    assert_eq!((free("n-span"), free("n-ingress")), (Some(253), Some(253)));
}
