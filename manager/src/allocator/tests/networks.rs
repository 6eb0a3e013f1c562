//! What networks are given, in the shapes that a stock manager (Docker 20.10) gives them.

use skep_proto::swarmkit::{IpamConfig, IpamOptions, ipam_config::AddressFamily};

use super::*;

fn overlay(name: &str, configs: Vec<IpamConfig>, options: &[(&str, &str)]) -> Network {
    let mut network = network(name, "overlay", false, false);
    let spec = network.spec.as_mut().unwrap();
    spec.ipam = Some(IpamOptions {
        driver: Some(Driver { name: "default".into(), ..Default::default() }),
        configs,
    });
    let options = options.iter().map(|(key, value)| ((*key).into(), (*value).into()));
    spec.driver_config.as_mut().unwrap().options = options.collect();
    network
}

fn config(subnet: &str, range: &str, gateway: &str) -> IpamConfig {
    IpamConfig {
        subnet: subnet.into(),
        range: range.into(),
        gateway: gateway.into(),
        ..Default::default()
    }
}

/// "overlay k=v …; default k=v …; 4 10.0.0.0/24 range gateway, …".
fn shown(network: &Network) -> String {
    let driver = |driver: &Driver| {
        let options = driver.options.iter().map(|(key, value)| {
            format!(" {}={value}", key.strip_prefix("com.docker.network.").unwrap_or(key))
        });
        format!("{}{}", driver.name, options.collect::<String>())
    };
    let (Some(state), Some(ipam)) = (&network.driver_state, &network.ipam) else {
        return "nothing".into();
    };
    let configs = ipam.configs.iter().map(|c| {
        let family = c.family;
        format!("{family} {} {} {}", c.subnet, c.range, c.gateway)
    });
    let configs = configs.collect::<Vec<_>>().join(", ");
    format!("{}; {}; {configs}", driver(state), driver(ipam.driver.as_ref().unwrap()))
}

#[tokio::test(start_paused = true)]
async fn networks_look_as_those_of_a_stock_manager() {
    let running = Running::begin().await;
    running.settle().await;
    let id = |n: u32| format!("overlay driver.overlay.vxlanid_list={n}; default;");
    let lookup =
        |name: &str| shown(running.store.view().get_text::<Network>(&format!("n-{name}")).unwrap());
    // In the order of their ids.
    assert_eq!(lookup("bridge"), "bridge; ; ");
    assert_eq!(lookup("ingress"), id(4096) + " 4 10.0.0.0/24  10.0.0.1");
    assert_eq!(lookup("span"), id(4097) + " 4 10.0.1.0/24  10.0.1.1");
    for (network, expected) in [
        (overlay("plain", vec![], &[]), id(4098) + " 4 10.0.2.0/24  10.0.2.1"),
        (
            overlay("sealed", vec![], &[("encrypted", "")]),
            "overlay driver.overlay.vxlanid_list=4099 encrypted=; default; 4 10.0.3.0/24  10.0.3.1"
                .to_owned(),
        ),
        (
            overlay("all", vec![config("10.50.0.0/16", "10.50.4.0/24", "10.50.0.9")], &[]),
            id(4100) + " 0 10.50.0.0/16 10.50.4.0/24 10.50.0.9",
        ),
        (
            overlay("range", vec![config("10.51.0.0/16", "10.51.4.0/24", "")], &[]),
            id(4101) + " 0 10.51.0.0/16 10.51.4.0/24 10.51.4.0",
        ),
        (
            overlay(
                "two",
                vec![config("10.60.0.0/24", "", ""), config("10.61.0.0/24", "", "")],
                &[],
            ),
            "overlay driver.overlay.vxlanid_list=4102,4103; default; 0 10.60.0.0/24  10.60.0.1, \
             0 10.61.0.0/24  10.61.0.1"
                .to_owned(),
        ),
        (
            overlay(
                "own-id",
                vec![],
                &[("com.docker.network.driver.overlay.vxlanid_list", "5000")],
            ),
            id(5000) + " 4 10.0.4.0/24  10.0.4.1",
        ),
        (
            overlay(
                "both",
                vec![config("10.62.0.0/24", "", ""), config("fd00:2::/64", "", "")],
                &[],
            ),
            "overlay driver.overlay.vxlanid_list=4104,4105; default; 0 10.62.0.0/24  10.62.0.1, \
             0 fd00:2::/64  fd00:2::1"
                .to_owned(),
        ),
        (network("mac", "macvlan", false, false), "macvlan; ; ".to_owned()),
        (network("own", "bridge", false, false), "bridge; ; ".to_owned()),
    ] {
        let id = network.id.clone();
        let spec = network.spec.clone();
        running.put(network).await;
        running
            .eventually(expected, |tables| shown(tables.get_text::<Network>(&id).unwrap()))
            .await;
        assert_eq!(running.store.view().get_text::<Network>(&id).unwrap().spec, spec);
    }
    let family = AddressFamily::Ipv4 as i32;
    assert_eq!(family, 4, "which is what is shown above");
}

#[tokio::test(start_paused = true)]
async fn a_network_that_cannot_be_had_says_why_and_goes_on_when_it_can() {
    let running = Running::begin().await;
    running.put(overlay("first", vec![config("10.70.0.0/16", "", "")], &[])).await;
    running.settle().await;
    running.put(overlay("second", vec![config("10.70.3.0/24", "", "")], &[])).await;
    running.put(network("odd", "weave", false, false)).await;
    running.put(service("web", None)).await;
    let spec = |service: &mut Service| {
        let target = NetworkAttachmentConfig { target: "n-second".into(), ..Default::default() };
        service.spec.as_mut().unwrap().networks = vec![target];
    };
    running.change("web", spec).await;
    running.create_tasks(vec![task("t-1", "web", &[]), task("t-2", "", &["odd"])]).await;
    let overlap = "network second: subnet 10.70.3.0/24 overlaps 10.70.0.0/16 of network n-first; choose another subnet";
    running.until("t-1", &format!("NEW {overlap}")).await;
    let unknown = "network odd: the driver weave is not one that these managers give addresses for; use overlay, or one \
                   that nodes set up by themselves (bridge, host, macvlan, ipvlan)";
    running.until("t-2", &format!("NEW {unknown}")).await;
    let state = |name: &str| {
        let view = running.store.view();
        network_state(&view, view.get_text::<Network>(&format!("n-{name}")).unwrap())
    };
    assert_eq!(state("second").unwrap_err().to_string(), overlap);
    assert_eq!(state("odd").unwrap_err().to_string(), unknown);
    assert_eq!(state("bridge").unwrap(), []);
    let used = state("first").unwrap()[0];
    assert_eq!((used.used, used.free), (1, 65_533), "the gateway");
    running.settle().await;
    let version = running.store.view().version();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(running.store.view().version(), version, "waiting costs nothing");

    running.remove::<Network>("n-first").await;
    running.until("t-1", "pending task scheduling ").await;
    let view = running.store.view();
    assert_eq!(addresses(&view, "t-1"), "n-second 10.70.3.3/24");
    assert_eq!(vips(&view, "web"), "n-second 10.70.3.2/24");
}

#[tokio::test(start_paused = true)]
async fn a_removed_network_holds_its_addresses_until_its_last_task_has_ended() {
    let running = Running::begin().await;
    running.put(overlay("old", vec![config("10.80.0.0/24", "", "")], &[])).await;
    running.create_tasks(vec![task("t-1", "", &["old"])]).await;
    running.until("t-1", "pending task scheduling ").await;
    running.remove::<Network>("n-old").await;
    running.put(overlay("new", vec![config("10.80.0.0/24", "", "")], &[])).await;
    running.create_tasks(vec![task("t-2", "", &["new"])]).await;
    let text = "NEW network new: subnet 10.80.0.0/24 overlaps 10.80.0.0/24 of network n-old; choose another subnet";
    running.until("t-2", text).await;
    running.report("t-1", TaskState::Shutdown).await;
    running.until("t-2", "pending task scheduling ").await;
    let view = running.store.view();
    let options =
        &view.get_text::<Network>("n-new").unwrap().driver_state.as_ref().unwrap().options;
    assert_eq!(options[network::VXLAN_IDS], "4099", "the old one rests");
}
