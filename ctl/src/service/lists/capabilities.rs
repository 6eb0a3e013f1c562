//! Linux capabilities, which a container gets more or less of than its engine gives anyway.

/// Stands for all capabilities.
const ALL: &str = "ALL";
/// Forgets what the service added or dropped before.
const RESET: &str = "RESET";

/// Changes what a service adds and drops. Adding what it dropped only undoes that, and the other way round; what is
/// named in both is added.
pub fn apply(add: &[String], drop: &[String], added: &mut Vec<String>, dropped: &mut Vec<String>) {
    let (add, drop) = (normal(add), normal(drop));
    if add.iter().any(|c| c == RESET) {
        added.clear();
    }
    if drop.iter().any(|c| c == RESET) {
        dropped.clear();
    }
    for capability in drop.iter().filter(|c| *c != RESET && !add.contains(c)) {
        move_over(capability, added, dropped);
    }
    for capability in add.iter().filter(|c| *c != RESET) {
        move_over(capability, dropped, added);
    }
}

/// Takes it away from one list if it is there, else makes sure that it is in the other.
fn move_over(capability: &String, from: &mut Vec<String>, to: &mut Vec<String>) {
    if from.contains(capability) {
        from.retain(|own| own != capability);
    } else if !to.contains(capability) {
        to.push(capability.clone());
    }
}

/// `net_admin` as `CAP_NET_ADMIN`.
fn normal(given: &[String]) -> Vec<String> {
    let one = |text: &String| {
        let upper = text.trim().to_ascii_uppercase();
        match upper.as_str() {
            ALL | RESET => upper,
            _ if upper.starts_with("CAP_") => upper,
            _ => format!("CAP_{upper}"),
        }
    };
    given.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_and_dropping_undo_each_other() {
        fn texts(all: &[&str]) -> Vec<String> {
            all.iter().map(|t| (*t).to_owned()).collect()
        }
        let check = |had, lacked, add, drop, has, lacks| {
            let (mut added, mut dropped) = (texts(had), texts(lacked));
            apply(&texts(add), &texts(drop), &mut added, &mut dropped);
            assert_eq!((added, dropped), (texts(has), texts(lacks)), "{add:?} {drop:?}");
        };
        // Added and dropped before, options, added and dropped after.
        check(&[], &[], &["net_admin"], &["ALL"], &["CAP_NET_ADMIN"], &["ALL"]);
        check(&["CAP_A"], &[], &[], &["a"], &[], &[]);
        check(&["CAP_A"], &[], &["a"], &[], &["CAP_A"], &[]);
        check(&[], &["CAP_A"], &["CAP_A"], &[], &[], &[]);
        check(&[], &[], &["a"], &["a"], &["CAP_A"], &[]);
        check(&["CAP_A"], &["CAP_B"], &["reset", "c"], &["RESET"], &["CAP_C"], &[]);
    }
}
