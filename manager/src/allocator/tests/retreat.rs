//! Changes of leader, and writes that are refused: the memory of what was given is thrown away and made anew.

use super::*;

#[tokio::test(start_paused = true)]
async fn the_next_leader_gives_nothing_that_is_held() {
    let mut running = Running::begin().await;
    running.put(Node { id: "node-1".into(), ..Default::default() }).await;
    running.put(service("web", publishing(&[80, 0]))).await;
    running.create_tasks(vec![task("t-1", "web", &["span"]), task("t-2", "", &["span"])]).await;
    running.until_pending(2).await;
    running.settle().await;
    let before = running.store.view();
    running.change_leader();
    // Both at once: one with state, and one that is new.
    running.create_tasks(vec![task("t-0", "", &["span"])]).await;
    running.put(network("more", "overlay", false, false)).await;
    running.until_pending(3).await;
    running.settle().await;
    let after = running.store.view();
    for id in ["t-1", "t-2"] {
        assert_eq!(before.get_text::<Task>(id), after.get_text::<Task>(id));
    }
    assert_eq!(before.get_text::<Service>("web"), after.get_text::<Service>("web"));
    assert_eq!(before.get_text::<Node>("node-1"), after.get_text::<Node>("node-1"));
    assert_eq!(addresses(&after, "t-0"), "n-span 10.0.1.4/24");
    let options =
        &after.get_text::<Network>("n-more").unwrap().driver_state.as_ref().unwrap().options;
    assert_eq!(options[network::VXLAN_IDS], "4098");
}

#[tokio::test(start_paused = true)]
async fn what_was_given_in_vain_is_free_again() {
    let running = Running::begin().await;
    running.settle().await;
    let book = running.book.clone();
    // A transaction that gives an address and is taken back.
    let first = task("first", "", &["span"]);
    let refused = running.store.update(|tx| {
        create(tx, &book, first)?;
        Err::<(), _>(StoreError::NotFound { kind: Kind::Task, id: "x".into() })
    });
    refused.await.unwrap_err();
    let second = task("second", "", &["span"]);
    running.store.update(|tx| create(tx, &book, second)).await.unwrap();
    assert_eq!(addresses(&running.store.view(), "second"), "n-span 10.0.1.2/24");
    // A part of a batch likewise, and what comes after it in the same transaction.
    let tasks = ["third", "fourth", "fifth"].map(|id| task(id, "", &["span"]));
    let results = running.store.batch(tasks, |tx, task| {
        let fails = task.id == "fourth";
        create(tx, &book, task)?;
        match fails {
            true => Err(StoreError::NotFound { kind: Kind::Task, id: "x".into() }),
            false => Ok(()),
        }
    });
    assert_eq!(results.await.iter().filter(|result| result.is_ok()).count(), 2);
    let view = running.store.view();
    assert_eq!(addresses(&view, "third"), "n-span 10.0.1.3/24");
    assert_eq!(addresses(&view, "fifth"), "n-span 10.0.1.4/24");
    // A task that is there already takes nothing from those that come.
    let again = task("fifth", "", &["span"]);
    running.store.update(|tx| create(tx, &book, again)).await.unwrap_err();
    let sixth = task("sixth", "", &["span"]);
    running.store.update(|tx| create(tx, &book, sixth)).await.unwrap();
    assert_eq!(addresses(&running.store.view(), "sixth"), "n-span 10.0.1.5/24");
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_when_leadership_is_lost_is_given_again_only_if_it_was_not_written() {
    let mut running = Running::begin().await;
    running.settle().await;
    for round in 0..20 {
        let book = running.book.clone();
        let tasks = (0..30).map(move |n| task(&format!("t-{round}-{n}"), "", &["span"]));
        let store = running.store.clone();
        let writing =
            tokio::spawn(
                async move { store.batch(tasks, |tx, task| create(tx, &book, task)).await },
            );
        tokio::task::yield_now().await;
        running.solo = None;
        running.solo = Some(lead_alone(&running.store));
        writing.await.unwrap();
        let ended: Vec<TaskId> = {
            let view = running.store.view();
            view.all::<Task>().step_by(2).map(|task| task.id.parse().unwrap()).collect()
        };
        running.store.batch(ended, |tx, id| tx.remove::<Task>(&id)).await;
        running.settle().await;
        let view = running.store.view();
        let mut held: Vec<_> =
            view.all::<Task>().flat_map(|task| task.networks[0].addresses.clone()).collect();
        let count = held.len();
        held.sort();
        held.dedup();
        assert_eq!(held.len(), count, "no two hold one address");
    }
}
