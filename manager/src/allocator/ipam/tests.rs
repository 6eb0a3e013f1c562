//! Scripts for address management as a whole, and random steps against a model that keeps every address in a plain map.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn id(name: &str) -> NetworkId {
    name.parse().unwrap()
}

fn task(name: &str) -> Owner {
    Owner::Task(name.parse().unwrap())
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn ipam(pools: &str, size: u32) -> Ipam {
    let pools: Vec<String> = pools.split_whitespace().map(str::to_owned).collect();
    Ipam::new(DefaultPools::parse(&pools, size).unwrap())
}

/// "10.1.0.0/16 10.1.2.0/24>10.1.0.1!10.1.2.3,10.1.2.4": subnet, range, gateway, reserved; "-" leaves the subnet to the pools.
fn request(text: &str) -> SubnetRequest {
    let (text, reserved) = text.split_once('!').unwrap_or((text, ""));
    let (text, gateway) = text.split_once('>').unwrap_or((text, ""));
    let (subnet, range) = text.split_once(' ').unwrap_or((text, ""));
    SubnetRequest {
        subnet: subnet.parse().ok(),
        range: range.parse().ok(),
        gateway: gateway.parse().ok(),
        reserved: reserved.split(',').filter_map(|text| text.parse().ok()).collect(),
    }
}

/// "10.1.0.0/16>10.1.0.1", or the error.
fn shown(result: Result<Vec<Subnet>, IpamError>) -> String {
    match result {
        Ok(subnets) => {
            let subnets = subnets.iter().map(|s| format!("{}>{}", s.net, s.gateway));
            subnets.collect::<Vec<_>>().join(" ")
        }
        Err(error) => error.to_string(),
    }
}

fn add(ipam: &mut Ipam, network: &str, requests: &[&str]) -> String {
    let requests: Vec<_> = requests.iter().map(|text| request(text)).collect();
    shown(ipam.add_network(id(network), &requests))
}

fn text<T: ToString>(result: Result<T, IpamError>) -> String {
    result.map_or_else(|error| error.to_string(), |got| got.to_string())
}

#[test]
fn networks_get_the_subnets_that_they_name_or_a_free_block() {
    let mut ipam = ipam("10.0.0.0/22 10.8.0.0/24", 24);
    for (network, requests, expected) in [
        ("a", &[][..], "10.0.0.0/24>10.0.0.1"),
        ("b", &["10.0.1.0/24"], "10.0.1.0/24>10.0.1.1"),
        ("c", &["-"], "10.0.2.0/24>10.0.2.1"),
        ("a", &[], "network a has its subnets already; remove it first to change them"),
        (
            "d",
            &["10.0.0.0/16"],
            "network d: subnet 10.0.0.0/16 overlaps 10.0.2.0/24 of network c; choose another subnet",
        ),
        // All or nothing.
        (
            "d",
            &["10.5.0.0/16", "-", "10.5.6.0/24"],
            "network d: subnet 10.5.6.0/24 overlaps 10.5.0.0/16 of network d; choose another subnet",
        ),
        ("e", &["10.5.1.2/16"], "10.5.0.0/16>10.5.0.1"),
        // Those that are named come first, and the order stays.
        (
            "f",
            &["-", "10.0.3.0/24", "fd00::/64"],
            "10.8.0.0/24>10.8.0.1 10.0.3.0/24>10.0.3.1 fd00::/64>fd00::1",
        ),
        (
            "g",
            &["10.6.0.0/16", "-"],
            "network g: no /24 block of the default address pools 10.0.0.0/22, 10.8.0.0/24 is free; remove a network \
             that is not needed, or name a subnet for this one",
        ),
        ("h", &["10.6.0.0/16"], "10.6.0.0/16>10.6.0.1"),
    ] {
        assert_eq!(add(&mut ipam, network, requests), expected, "{network} asks for {requests:?}");
    }
    ipam.remove_network(&id("b"));
    ipam.remove_network(&id("b"));
    assert_eq!(add(&mut ipam, "i", &[]), "10.0.1.0/24>10.0.1.1");
    let networks: Vec<_> = ipam.networks().map(|network| network.to_string()).collect();
    assert_eq!(networks.join(" "), "a c e f h i");
}

#[test]
fn gateways_ranges_and_reserved_addresses_lie_in_their_subnet() {
    for (asked, expected) in [
        ("10.1.0.0/16>10.1.255.254", "10.1.0.0/16>10.1.255.254"),
        // As Docker does: the first address of the range, also when it looks like that of a network.
        ("10.1.0.0/16 10.1.2.0/24", "10.1.0.0/16>10.1.2.0"),
        ("10.1.0.0/16 10.1.0.0/24", "10.1.0.0/16>10.1.0.1"),
        ("10.1.0.0/16!10.1.0.1,10.1.0.2", "10.1.0.0/16>10.1.0.3"),
        ("10.1.0.0/16>10.1.0.1!10.1.0.1", "10.1.0.0/16>10.1.0.1"),
        ("10.1.0.0/30", "10.1.0.0/30>10.1.0.1"),
        ("10.1.0.0/31", "10.1.0.0/31>10.1.0.0"),
        ("10.1.0.0/32", "10.1.0.0/32>10.1.0.0"),
        ("10.0.0.0/8", "10.0.0.0/8>10.0.0.1"),
        ("0.0.0.0/0", "0.0.0.0/0>0.0.0.1"),
        ("::/0", "::/0>::1"),
        ("fd00::/127", "fd00::/127>fd00::1"),
        (
            "fd00::/128",
            "network n: fd00::/128 has no address that can be used; choose a larger one",
        ),
        (
            "10.1.0.0/16 10.1.0.0/32",
            "network n: 10.1.0.0/32 has no address that can be used; choose a larger one",
        ),
        (
            "10.1.0.0/30!10.1.0.1,10.1.0.2",
            "network n: 10.1.0.0/30 has no address that can be used; choose a larger one",
        ),
        (
            "10.1.0.0/16>10.2.0.1",
            "network n: gateway 10.2.0.1 is not in subnet 10.1.0.0/16; choose one that is, or leave it out",
        ),
        (
            "->192.168.0.1",
            "network n: gateway 192.168.0.1 is not in subnet 10.0.0.0/24; choose one that is, or leave it out",
        ),
        (
            "10.1.0.0/16>10.1.0.0",
            "network n: 10.1.0.0 is the network or broadcast address of 10.1.0.0/16; choose another",
        ),
        (
            "10.1.0.0/16 10.2.0.0/24",
            "network n: range 10.2.0.0/24 is not in subnet 10.1.0.0/16; choose one that is, or leave it out",
        ),
        (
            "10.1.0.0/16 10.0.0.0/8",
            "network n: range 10.0.0.0/8 is not in subnet 10.1.0.0/16; choose one that is, or leave it out",
        ),
        (
            "10.1.0.0/16 fd00::/80",
            "network n: range fd00::/80 is not in subnet 10.1.0.0/16; choose one that is, or leave it out",
        ),
        (
            "10.1.0.0/16!10.2.0.1",
            "network n: reserved address 10.2.0.1 is not in subnet 10.1.0.0/16; leave it out",
        ),
        (
            "10.1.0.0/16!10.1.255.255",
            "network n: 10.1.255.255 is the network or broadcast address of 10.1.0.0/16; choose another",
        ),
    ] {
        let mut ipam = ipam("10.0.0.0/24", 24);
        assert_eq!(add(&mut ipam, "n", &[asked]), expected, "{asked}");
        let refused = expected.starts_with("network");
        assert_eq!(ipam.networks().count(), usize::from(!refused));
        // What was refused left nothing behind.
        let again = if refused { "10.0.0.0/24>10.0.0.1" } else { "network n has its subnets" };
        assert!(add(&mut ipam, "n", &[]).starts_with(again), "{asked}");
    }
}

#[test]
fn addresses_are_given_in_order_and_those_that_become_free_rest() {
    let mut ipam = ipam("", 0);
    add(&mut ipam, "n", &["10.1.0.0/29!10.1.0.3"]);
    let n = id("n");
    let mut next = |owner: &str| text(ipam.assign(&n, task(owner), None));
    assert_eq!([next("a"), next("b")].join(" "), "10.1.0.2/29 10.1.0.4/29");
    assert!(!ipam.release(&n, task("b"), ip("10.1.0.2")), "it is not b's");
    assert!(ipam.release(&n, task("a"), ip("10.1.0.2")));
    assert!(!ipam.release(&n, task("a"), ip("10.1.0.2")), "it was free");
    let mut next = |owner: &str| text(ipam.assign(&n, task(owner), None));
    assert_eq!([next("c"), next("d"), next("e")].join(" "), "10.1.0.5/29 10.1.0.6/29 10.1.0.2/29");
    assert_eq!(
        next("f"),
        "network n: all 6 addresses of 10.1.0.0/29 are in use; remove tasks or services from the network, or create one \
         with a larger subnet"
    );
    let held: Vec<_> = ipam.held(&n).map(|(address, owner)| format!("{address} {owner}")).collect();
    assert_eq!(
        held,
        [
            "10.1.0.1 the gateway",
            "10.1.0.2 task e",
            "10.1.0.3 a reservation of the network's spec",
            "10.1.0.4 task b",
            "10.1.0.5 task c",
            "10.1.0.6 task d",
        ]
    );
    ipam.remove_network(&n);
    assert_eq!(ipam.held(&n).count(), 0);
    assert_eq!(ipam.usage(&n), []);
    assert_eq!(
        text(ipam.assign(&n, task("a"), None)),
        "network n is not known here, or has no subnets yet"
    );
}

#[test]
fn a_given_address_is_held_by_one_owner() {
    let mut ipam = ipam("", 0);
    add(&mut ipam, "n", &["10.1.0.0/16 10.1.2.0/24>10.1.0.1!10.1.0.9", "10.2.0.0/16"]);
    let n = id("n");
    for (owner, address, expected) in [
        (task("a"), "10.1.2.5", "10.1.2.5/16"),
        // Outside the range, and in the second subnet.
        (task("a"), "10.1.9.5", "10.1.9.5/16"),
        (task("a"), "10.2.9.5", "10.2.9.5/16"),
        (task("a"), "10.1.2.5", "10.1.2.5/16"),
        (task("b"), "10.1.2.5", "network n: address 10.1.2.5 is in use by task a; choose another"),
        (
            task("b"),
            "10.1.0.1",
            "network n: address 10.1.0.1 is in use by the gateway; choose another",
        ),
        (
            task("b"),
            "10.1.0.9",
            "network n: address 10.1.0.9 is in use by a reservation of the network's spec; choose another",
        ),
        (
            task("b"),
            "10.3.0.1",
            "network n: address 10.3.0.1 is not in its subnets; choose one in 10.1.0.0/16, 10.2.0.0/16",
        ),
        (
            task("b"),
            "fd00::1",
            "network n: address fd00::1 is not in its subnets; choose one in 10.1.0.0/16, 10.2.0.0/16",
        ),
        (
            task("b"),
            "10.1.255.255",
            "network n: 10.1.255.255 is the network or broadcast address of 10.1.0.0/16; choose another",
        ),
    ] {
        assert_eq!(text(ipam.claim(&n, owner, ip(address))), expected, "{owner} claims {address}");
    }
    assert_eq!(
        text(ipam.claim(&id("m"), task("a"), ip("10.1.2.5"))),
        "network m is not known here, or has no subnets yet"
    );
    assert_eq!(ipam.owner(&n, ip("10.1.9.5")), Some(task("a")));
    assert_eq!(ipam.owner(&n, ip("10.1.9.6")), None);
    assert_eq!(ipam.owner(&n, ip("10.3.9.6")), None);
    let usage = |usage: SubnetUsage| (usage.total, usage.used, usage.free);
    let usages: Vec<_> = ipam.usage(&n).into_iter().map(usage).collect();
    // Of the first subnet, only what lies in the range counts.
    assert_eq!(usages, [(256, 1, 255), (65_534, 2, 65_532)]);
}

#[test]
fn when_a_subnet_is_full_the_next_one_serves_and_families_are_told_apart() {
    let mut ipam = ipam("", 0);
    add(&mut ipam, "n", &["10.1.0.0/30", "10.2.0.0/30", "fd00::/126"]);
    let n = id("n");
    let mut next = |owner, family| text(ipam.assign(&n, task(owner), family));
    assert_eq!(next("a", None), "10.1.0.2/30");
    assert_eq!(next("a", Some(Family::V6)), "fd00::2/126");
    assert_eq!(next("b", None), "10.2.0.2/30");
    let full = next("c", Some(Family::V4));
    assert!(
        full.starts_with("network n: all 4 addresses of 10.1.0.0/30, 10.2.0.0/30 are in use;"),
        "{full}"
    );
    assert_eq!(next("c", None), "fd00::3/126");
    let full = next("c", None);
    assert!(
        full.starts_with("network n: all 7 addresses of 10.1.0.0/30, 10.2.0.0/30, fd00::/126"),
        "{full}"
    );

    // One of each family, or nothing.
    assert!(ipam.release(&n, task("b"), ip("10.2.0.2")));
    let refused = ipam.assign_each(&n, task("d")).unwrap_err().to_string();
    assert!(refused.starts_with("network n: all 3 addresses of fd00::/126"), "{refused}");
    assert_eq!(ipam.owner(&n, ip("10.2.0.2")), None);
    assert!(ipam.release(&n, task("a"), ip("fd00::2")));
    let both: Vec<_> =
        ipam.assign_each(&n, task("d")).unwrap().iter().map(IpNet::to_string).collect();
    assert_eq!(both.join(" "), "10.2.0.2/30 fd00::2/126");

    add(&mut ipam, "v4", &[]);
    assert_eq!(
        text(ipam.assign(&id("v4"), task("a"), Some(Family::V6))),
        "network v4 has no IPv6 subnet; create a network with one"
    );
}

#[test]
fn a_new_leader_goes_on_behind_what_is_held() {
    let mut ipam = ipam("", 0);
    add(&mut ipam, "n", &["10.1.0.0/24>10.1.0.1!10.1.0.200"]);
    let n = id("n");
    for (owner, address) in [("a", "10.1.0.2"), ("d", "10.1.0.5"), ("c", "10.1.0.4")] {
        ipam.claim(&n, task(owner), ip(address)).unwrap();
    }
    // Not .3, which may have become free a moment ago; and a reserved address or a gateway says nothing about that.
    assert_eq!(text(ipam.assign(&n, task("e"), None)), "10.1.0.6/24");
    ipam.claim(&n, task("x"), ip("10.1.0.100")).unwrap();
    assert_eq!(text(ipam.assign(&n, task("f"), None)), "10.1.0.7/24");
}

#[test]
fn memory_follows_what_is_used() {
    let mut ipam = ipam("", 0);
    add(&mut ipam, "n", &["fd00::/16", "11.0.0.0/8"]);
    let n = id("n");
    ipam.claim(&n, task("a"), ip("fd00:ffff:ffff:ffff:ffff:ffff:ffff:ffff")).unwrap();
    assert_eq!(text(ipam.assign(&n, task("a"), None)), "fd00::2/16");
    assert_eq!(text(ipam.assign(&n, task("a"), Some(Family::V4))), "11.0.0.2/8");
    assert_eq!(ipam.held(&n).count(), 5);
    assert_eq!(ipam.usage(&n)[0].free, (1 << 112) - 4);
}

/// What a network is in the model: addresses of one subnet after the other, in a plain map.
struct Model {
    subnets: Vec<ModelSubnet>,
}

struct ModelSubnet {
    net: IpNet,
    range: IpNet,
    last: Option<IpAddr>,
    given: bool,
    held: BTreeMap<IpAddr, Owner>,
}

impl ModelSubnet {
    /// All that may be held, by walking over it.
    fn usable(&self) -> Vec<IpAddr> {
        let hosts = self.net.hosts();
        // The library leaves out what IPv4 networks do, and nothing of IPv6.
        hosts.filter(|a| a.is_ipv4() || *a != self.net.network()).collect()
    }

    fn assign(&mut self, owner: Owner) -> Option<IpAddr> {
        let pool: Vec<_> = self.usable().into_iter().filter(|a| self.range.contains(a)).collect();
        let (before, after): (Vec<_>, Vec<_>) =
            pool.into_iter().partition(|a| self.last.is_some_and(|last| *a <= last));
        let free = after.into_iter().chain(before).find(|a| !self.held.contains_key(a))?;
        self.held.insert(free, owner);
        self.last = Some(free);
        self.given = true;
        Some(free)
    }
}

impl Model {
    fn subnet(&mut self, address: IpAddr) -> Option<&mut ModelSubnet> {
        self.subnets.iter_mut().find(|subnet| subnet.net.contains(&address))
    }
}

/// Networks that the random steps work on: small, so that they are full often.
const SHAPES: [&[&str]; 5] = [
    &["10.1.0.0/29"],
    &["10.1.0.0/28 10.1.0.4/30", "10.2.0.0/30"],
    &["10.1.0.0/27 10.1.0.16/28>10.1.0.1!10.1.0.17,10.1.0.30", "fd00::/125"],
    &["fd00::/124 fd00::8/125", "10.1.0.0/29>10.1.0.6"],
    &[],
];

#[derive(Clone, Debug)]
enum Step {
    Assign {
        owner: u8,
        family: Option<bool>,
    },
    Claim {
        owner: u8,
        subnet: u8,
        at: u8,
    },
    Release {
        owner: u8,
        subnet: u8,
        at: u8,
    },
    /// Whatever is held there, by its owner.
    ReleaseHeld {
        at: u8,
    },
    /// The memory is lost and made anew from what is held.
    NewLeader,
}

fn step() -> impl Strategy<Value = Step> {
    let owner = 0..6_u8;
    prop_oneof![
        8 => (owner.clone(), prop::option::of(any::<bool>())).prop_map(|(owner, family)| Step::Assign { owner, family }),
        3 => (owner.clone(), 0..2_u8, 0..34_u8).prop_map(|(owner, subnet, at)| Step::Claim { owner, subnet, at }),
        2 => (owner, 0..2_u8, 0..34_u8).prop_map(|(owner, subnet, at)| Step::Release { owner, subnet, at }),
        5 => any::<u8>().prop_map(|at| Step::ReleaseHeld { at }),
        1 => Just(Step::NewLeader),
    ]
}

fn owner(number: u8) -> Owner {
    match number % 3 {
        0 => Owner::Task(format!("t{number}").parse().unwrap()),
        1 => Owner::Service(format!("s{number}").parse().unwrap()),
        _ => Owner::Node(format!("n{number}").parse().unwrap()),
    }
}

/// The network in the model, from what it asked for and got.
fn model(requests: &[SubnetRequest], subnets: &[Subnet]) -> Model {
    let any = SubnetRequest::default();
    let subnets = subnets.iter().enumerate().map(|(at, got)| {
        let request = requests.get(at).unwrap_or(&any);
        let mut held: BTreeMap<_, _> =
            request.reserved.iter().map(|address| (*address, Owner::Reserved)).collect();
        held.insert(got.gateway, Owner::Gateway);
        let last = request.gateway.is_none().then_some(got.gateway);
        let range = got.range.unwrap_or(got.net);
        ModelSubnet { net: got.net, range, last, given: last.is_some(), held }
    });
    Model { subnets: subnets.collect() }
}

/// Runs the steps on both and compares after each.
fn compare(shape: usize, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut requests: Vec<_> = SHAPES[shape].iter().map(|text| request(text)).collect();
    let mut ipam = ipam("10.9.0.0/16", 28);
    let n = id("n");
    let subnets = ipam.add_network(n, &requests).unwrap();
    let mut model = model(&requests, &subnets);
    for step in steps {
        match step {
            Step::Assign { owner: number, family } => {
                let of =
                    |net: &IpNet| family.is_none_or(|v4| v4 == (Family::of(net) == Family::V4));
                let mut wanted = model.subnets.iter_mut().filter(|subnet| of(&subnet.net));
                let expected = wanted.find_map(|subnet| {
                    let address = subnet.assign(owner(number))?;
                    Some(IpNet::new_assert(address, subnet.net.prefix_len()))
                });
                let family = family.map(|v4| if v4 { Family::V4 } else { Family::V6 });
                prop_assert_eq!(ipam.assign(&n, owner(number), family).ok(), expected);
            }
            Step::Claim { owner: number, subnet, at } => {
                let net = subnets[usize::from(subnet) % subnets.len()].net;
                let (first, _) = bits::bounds(&net);
                let address = bits::address(Family::of(&net), first + u128::from(at));
                let result = ipam.claim(&n, owner(number), address);
                let Some(in_model) = model.subnet(address) else {
                    let outside = matches!(result, Err(IpamError::OutsideSubnets { .. }));
                    prop_assert!(outside);
                    continue;
                };
                let usable = in_model.usable().contains(&address);
                match in_model.held.get(&address).copied() {
                    _ if !usable => {
                        let refused = matches!(result, Err(IpamError::NotForHosts { .. }));
                        prop_assert!(refused);
                    }
                    Some(holder) if holder != owner(number) => {
                        prop_assert_eq!(
                            result,
                            Err(IpamError::AddressInUse { network: n, address, holder })
                        );
                    }
                    held => {
                        let expected = IpNet::new_assert(address, in_model.net.prefix_len());
                        prop_assert_eq!(result, Ok(expected));
                        if held.is_none() && !in_model.given && in_model.range.contains(&address) {
                            in_model.last = in_model.last.max(Some(address));
                        }
                        in_model.held.insert(address, owner(number));
                    }
                }
            }
            Step::Release { owner: number, subnet, at } => {
                let net = subnets[usize::from(subnet) % subnets.len()].net;
                let (first, _) = bits::bounds(&net);
                let address = bits::address(Family::of(&net), first + u128::from(at));
                let held = model.subnet(address).is_some_and(|in_model| {
                    let held = in_model.held.get(&address) == Some(&owner(number));
                    if held {
                        in_model.held.remove(&address);
                    }
                    held
                });
                prop_assert_eq!(ipam.release(&n, owner(number), address), held);
            }
            Step::ReleaseHeld { at } => {
                let held: Vec<_> = in_use(&model);
                let Some((address, owner)) = held.get(usize::from(at) % held.len().max(1)) else {
                    continue;
                };
                prop_assert!(ipam.release(&n, *owner, *address));
                model.subnet(*address).unwrap().held.remove(address);
            }
            Step::NewLeader => {
                requests = (0..subnets.len())
                    .map(|at| SubnetRequest {
                        subnet: Some(subnets[at].net),
                        range: subnets[at].range,
                        gateway: Some(subnets[at].gateway),
                        reserved: requests.get(at).map(|r| r.reserved.clone()).unwrap_or_default(),
                    })
                    .collect();
                ipam = Ipam::new(DefaultPools::default());
                prop_assert_eq!(ipam.add_network(n, &requests), Ok(subnets.clone()));
                for (address, owner) in in_use(&model) {
                    prop_assert!(ipam.claim(&n, owner, address).is_ok());
                }
                for subnet in &mut model.subnets {
                    let held = subnet.held.iter().filter(|(_, owner)| is_of_cluster(owner));
                    let held = held.map(|(address, _)| *address);
                    subnet.last = held.filter(|address| subnet.range.contains(address)).max();
                    subnet.given = false;
                }
            }
        }
        let held: BTreeMap<_, _> = ipam.held(&n).collect();
        let expected = model.subnets.iter().flat_map(|subnet| subnet.held.clone());
        prop_assert_eq!(held, expected.collect());
        for (usage, subnet) in ipam.usage(&n).iter().zip(&model.subnets) {
            let pool = |address: &&IpAddr| subnet.range.contains(*address);
            prop_assert_eq!(usage.total, subnet.usable().iter().filter(pool).count() as u128);
            prop_assert_eq!(usage.used, subnet.held.keys().filter(pool).count() as u128);
            prop_assert_eq!(usage.free, usage.total - usage.used);
        }
    }
    for (address, owner) in in_use(&model) {
        prop_assert!(ipam.release(&n, owner, address));
    }
    let left = ipam.held(&n).filter(|(_, owner)| is_of_cluster(owner)).count();
    prop_assert_eq!(left, 0);
    Ok(())
}

fn is_of_cluster(owner: &Owner) -> bool {
    !matches!(owner, Owner::Gateway | Owner::Reserved)
}

fn in_use(model: &Model) -> Vec<(IpAddr, Owner)> {
    let held = model.subnets.iter().flat_map(|subnet| subnet.held.iter());
    held.filter(|(_, owner)| is_of_cluster(owner)).map(|(a, owner)| (*a, *owner)).collect()
}

/// How many random histories each property is tried on; more with SKEP_IPAM_CASES.
fn cases() -> ProptestConfig {
    const CASES: u32 = 64;
    let asked = std::env::var("SKEP_IPAM_CASES").ok();
    let cases = asked.map_or(CASES, |text| text.parse().expect("SKEP_IPAM_CASES is a number"));
    ProptestConfig { cases, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn addresses_are_as_in_a_plain_map(shape in 0..SHAPES.len(), steps in prop::collection::vec(step(), 1..120)) {
        compare(shape, steps)?;
    }

    /// Networks come and go: no two subnets ever overlap, a block is refused only when none is free and is the next free
    /// one after the last otherwise, and all of the space is free at the end.
    #[test]
    fn subnets_never_overlap_and_none_is_lost(
        steps in prop::collection::vec((0..10_u8, prop::option::of((22..29_u8, 0..1024_u32))), 1..80)
    ) {
        // Sixteen blocks.
        let mut ipam = ipam("10.0.0.0/25 10.0.2.0/25", 28);
        let mut model: BTreeMap<NetworkId, IpNet> = BTreeMap::new();
        let pools = ["10.0.0.0/25", "10.0.2.0/25"].map(|pool| pool.parse::<IpNet>().unwrap());
        // Rotated with each block that is given out: the next one comes first.
        let mut blocks: Vec<IpNet> = pools.iter().flat_map(|pool| pool.subnets(28).unwrap()).collect();
        let apart = |a: &IpNet, b: &IpNet| !a.contains(b) && !b.contains(a);
        for (number, asked) in steps {
            let network = id(&format!("n{number}"));
            if model.remove(&network).is_some() {
                ipam.remove_network(&network);
                continue;
            }
            let (request, expected) = match asked {
                Some((prefix, at)) => {
                    let at = std::net::Ipv4Addr::from_bits((10 << 24) + at);
                    let net = IpNet::new_assert(at.into(), prefix).trunc();
                    let free = model.values().all(|other| apart(&net, other));
                    (SubnetRequest { subnet: Some(net), ..Default::default() }, free.then_some(net))
                }
                None => {
                    let free = |block: &IpNet| model.values().all(|other| apart(block, other));
                    let at = blocks.iter().position(free);
                    let block = at.map(|at| blocks[at]);
                    blocks.rotate_left(at.map_or(0, |at| at + 1));
                    (SubnetRequest::default(), block)
                }
            };
            let got = ipam.add_network(network, &[request]).ok().map(|subnets| subnets[0].net);
            prop_assert_eq!(got, expected);
            model.extend(got.map(|net| (network, net)));
        }
        for network in model.into_keys() {
            ipam.remove_network(&network);
        }
        for number in 0..16 {
            let network = id(&format!("all{number}"));
            prop_assert!(ipam.add_network(network, &[]).is_ok());
        }
        prop_assert!(ipam.add_network(id("more"), &[]).is_err());
    }
}
