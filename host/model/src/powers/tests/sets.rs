//! Powers as sets and in words; and, whatever they are, that each of them is needed.

use proptest::prelude::*;

use super::super::*;
use super::fixtures::*;
use crate::hook::{Archive, File, Identity, Package, Plan, ProgramPower, Source};

#[test]
fn in_words() {
    assert_eq!(
        powers().in_words(),
        [
            "install the package nodejs of the distribution",
            "fetch archives from https://nodejs.example/dist/",
            "run npm as the app's user",
            "run {package:node}/bin/node as the app's user",
            "run /usr/sbin/sysctl as root",
            "listen on port 6379",
            "write below /etc/redis",
            "be given the secret KEY",
        ]
    );
    assert_eq!(Powers::default().in_words(), Vec::<String>::new());
}

#[test]
fn powers_that_nobody_can_have() {
    assert_eq!(check_powers(&powers()), Vec::<String>::new());
    let faulty = |change: &dyn Fn(&mut Powers)| {
        let mut powers = powers();
        change(&mut powers);
        let faults = check_powers(&powers);
        assert_eq!(faults.len(), 1, "{powers:#?}");
    };
    for name in ["", "-o", "a b"] {
        faulty(&|powers| powers.packages[0] = name.to_owned());
    }
    for url in ["", "http://a.example/", "https://", "ftp://a.example", "https://a.example/../"] {
        faulty(&|powers| powers.repositories[0] = url.to_owned());
    }
    for program in
        ["", "a b", "./a", "a/b", "{x}", "{source}", "{source}/../x", "{app}", "{package:node}", "{data}x", "/../x"]
    {
        faulty(&|powers| powers.programs[0].program = program.to_owned());
    }
    for path in ["", "etc/x", "/", "/etc", "/etc/../x", "/proc/x/y", "/usr/bin", "/srv/{app}"] {
        faulty(&|powers| powers.paths[0] = path.to_owned());
    }
    for name in ["", "a b", "a}{b", "{x}"] {
        faulty(&|powers| powers.secrets[0] = name.to_owned());
    }
    faulty(&|powers| powers.ports[0] = 0);
    faulty(&|powers| powers.ports = (0..500).map(|port| port + 1).collect());
}

#[test]
fn sets_of_powers() {
    let all = powers();
    assert_eq!(all.intersect(&all), all);
    assert_eq!(all.missing_from(&all), Powers::default());
    assert_eq!(all.missing_from(&Powers::default()), all);
    assert_eq!(all.intersect(&Powers::default()), Powers::default());
    let mut wider = Powers {
        repositories: vec!["https://nodejs.example".to_owned()],
        programs: vec![ProgramPower { program: "npm".to_owned(), run_as: Identity::Root }],
        paths: vec!["/etc/redis/conf.d".to_owned()],
        ..Powers::default()
    };
    let common = all.intersect(&wider);
    assert_eq!(common, wider.intersect(&all));
    assert_eq!(common.repositories, ["https://nodejs.example/dist/"]);
    assert_eq!(common.programs, [ProgramPower { program: "npm".to_owned(), run_as: Identity::App }]);
    assert_eq!(common.paths, ["/etc/redis/conf.d"]);
    wider.paths.clear();
    assert_eq!(wider.missing_from(&all), wider);
}

/// Every single power, and the powers without it.
fn without_each(powers: &Powers) -> Vec<Powers> {
    let all: Vec<Power> = powers.each().collect();
    let subset = |without: usize| {
        let mut fewer = Powers::default();
        for (index, power) in all.iter().enumerate() {
            if index == without {
                continue;
            }
            match power.clone() {
                Power::Package(name) => fewer.packages.push(name),
                Power::Repository(url) => fewer.repositories.push(url),
                Power::Program(program, run_as) => fewer.programs.push(ProgramPower { program, run_as }),
                Power::Port(port) => fewer.ports.push(port),
                Power::Path(path) => fewer.paths.push(path),
                Power::Secret(name) => fewer.secrets.push(name),
            }
        }
        fewer
    };
    (0..all.len()).map(subset).collect()
}

fn some_powers() -> impl Strategy<Value = Powers> {
    let names = || proptest::collection::btree_set("[a-z]{1,4}", 0..4).prop_map(Vec::from_iter);
    let ports = proptest::collection::btree_set(1u16.., 0..4).prop_map(Vec::from_iter);
    (names(), names(), names(), any::<bool>(), ports, names(), names()).prop_map(
        |(packages, repositories, programs, root, ports, paths, secrets): (
            Vec<String>,
            Vec<String>,
            Vec<String>,
            _,
            _,
            Vec<String>,
            _,
        )| {
            let run_as = if root { Identity::Root } else { Identity::App };
            Powers {
                packages,
                repositories: repositories.iter().map(|name| format!("https://{name}.example/")).collect(),
                programs: programs.into_iter().map(|program| ProgramPower { program, run_as }).collect(),
                ports,
                paths: paths.iter().map(|name| format!("/srv/{name}")).collect(),
                secrets,
            }
        },
    )
}

/// A plan and packages that use every one of these powers.
fn uses(powers: &Powers) -> (Plan, Vec<Package>) {
    let mut plan = Plan::default();
    for power in &powers.programs {
        let mut command = command(&power.program, &[&power.program]);
        command.env.clear();
        command.run_as = power.run_as;
        plan.build.push(command);
    }
    if !powers.ports.is_empty() {
        let mut process = process("web", "http");
        process.argv[0] = "{source}/web".to_owned();
        process.env.remove("TOKEN");
        process.ports.extend(powers.ports.iter().map(ToString::to_string));
        plan.processes.push(process);
    }
    for path in &powers.paths {
        plan.files.push(File { path: format!("{path}/file"), content: String::new(), mode: 0o644 });
    }
    for name in &powers.secrets {
        plan.values.insert(format!("X_{}", name.to_uppercase()), format!("{{secret:{name}}}"));
    }
    let distribution = powers.packages.iter().map(|name| package(name, Source::Distribution));
    let archives = powers.repositories.iter().enumerate().map(|(index, prefix)| {
        let archive =
            Archive { url: format!("{prefix}x/{{version}}"), sha256: Some("0".repeat(64)), sums_url: None, strip: 0 };
        package(&format!("archive-{index}"), Source::Archive(archive))
    });
    let packages = distribution.chain(archives).collect();
    (plan, packages)
}

proptest! {
    /// Invariant 7: what is covered passes; with any single power taken away, from what was declared or from what was
    /// granted, it does not.
    #[test]
    fn every_power_is_needed(powers in some_powers()) {
        let (plan, packages) = uses(&powers);
        let limits = PlanLimits::default();
        prop_assert_eq!(refusals_with(&powers, &powers, &limits, &plan, &packages), vec![]);
        for fewer in without_each(&powers) {
            let not_granted = refusals_with(&powers, &fewer, &limits, &plan, &packages);
            prop_assert_eq!(not_granted.len(), 1, "{:?}", not_granted);
            prop_assert!(not_granted[0].grant.is_some());
            let not_declared = refusals_with(&fewer, &powers, &limits, &plan, &packages);
            prop_assert_eq!(not_declared.len(), 1, "{:?}", not_declared);
            prop_assert_eq!(&not_declared[0].grant, &None);
        }
    }

    /// `intersect` and `missing_from` fit together, and neither invents a power.
    #[test]
    fn what_is_common_and_what_is_missing_is_everything(one in some_powers(), other in some_powers()) {
        let common = one.intersect(&other);
        let missing = one.missing_from(&other);
        prop_assert!(common.missing_from(&one).is_empty() && common.missing_from(&other).is_empty());
        for power in one.each() {
            prop_assert_eq!(other.covers(&power), !missing.covers(&power), "{:?}", power);
            prop_assert!(!other.covers(&power) || common.covers(&power), "{:?}", power);
        }
    }
}
