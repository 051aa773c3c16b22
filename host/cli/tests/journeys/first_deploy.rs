//! The first five minutes.

use crate::world;

#[test]
fn the_first_command_ends_with_a_url_that_works() {
    let world = world();
    let project = world.copy_example("hello-node");
    let deployed = project.jecloud(&["deploy"]).ok();
    println!("{}", deployed.said());
    assert_eq!(project.get(), (200, "Hello from hello-node\n".to_owned()));
}
