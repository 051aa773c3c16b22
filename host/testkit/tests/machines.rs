//! Machines made of namespaces.

use jecloud_testkit::Machines;

/// Fails without `Network::unlink`: the link of a namespace that was just deleted keeps its name for a moment, and
/// whoever comes next cannot make one.
#[test]
fn a_network_is_gone_when_it_is_ended() {
    for _ in 0..12 {
        let Some(mut network) = Machines::new() else {
            eprintln!("left out: only root can make machines of namespaces");
            return;
        };
        network.start();
        network.start();
    }
}
