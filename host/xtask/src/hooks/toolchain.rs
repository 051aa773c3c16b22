//! With what hooks are compiled: whichever toolchain there is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{HookCrate, output, run};

/// How a hook is compiled, as far as it changes the bytes. Part of the digest of the sources: change both together.
pub(super) const RECIPE: &str = "opt-level=s lto=fat codegen-units=1 panic=abort strip=symbols remap=1";

/// The target that knows no system at all.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Debian's compiler, which needs no rustup. Its standard library for WebAssembly is built from the sources.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// The packages with that compiler, the sources of its standard library, and its linker.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "lld-22"];
/// The linker for WebAssembly in the last of them: Debian's compiler does not come with one of its own.
const DEBIAN_LINKER: &str = "/usr/bin/wasm-ld-22";
/// Where the sources are then.
const DEBIAN_SOURCES: &str = "/usr/lib/rustlib/src/rust";

/// A compiler that can make modules for [`TARGET`].
#[derive(Debug)]
pub(super) struct Toolchain {
    rustc: PathBuf,
    /// Whether the standard library is compiled along with the hook.
    build_std: bool,
    id: String,
}

impl Toolchain {
    /// The compiler that cargo uses, where it has the target; else Debian's, which is installed where it is missing and
    /// this is done by root.
    pub(super) fn find_or_install() -> Result<Self> {
        let rustup = PathBuf::from("rustc");
        let library = PathBuf::from(output(Command::new(&rustup).args(["--print", "sysroot"]))?.trim())
            .join("lib/rustlib")
            .join(TARGET);
        if library.is_dir() {
            return Self::new(rustup, false);
        }
        if !is_debian_complete() {
            install_debian()?;
        }
        ensure!(
            is_debian_complete(),
            "{} do not hold {DEBIAN_RUSTC}, {DEBIAN_LINKER} and {DEBIAN_SOURCES}",
            DEBIAN_PACKAGES.join(" ")
        );
        Self::new(PathBuf::from(DEBIAN_RUSTC), true)
    }

    fn new(rustc: PathBuf, build_std: bool) -> Result<Self> {
        let version = output(Command::new(&rustc).arg("--version"))?;
        let std = if build_std { "built std" } else { "prebuilt std" };
        let id = format!("{}, {std}", version.trim());
        Ok(Self { rustc, build_std, id })
    }

    /// The compiler's version, and where its standard library comes from: what decides about the bytes.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Compiles a hook to a core module and returns its path.
    pub(super) fn compile(&self, root: &Path, hook: &HookCrate) -> Result<PathBuf> {
        let target = root.join("target/hooks");
        let mut cargo = Command::new("cargo");
        cargo
            .current_dir(root)
            .args([
                "build",
                "--locked",
                "--quiet",
                "--lib",
                "--release",
                "--target",
                TARGET,
                "--package",
                &hook.package,
            ])
            .arg("--target-dir")
            .arg(&target)
            .env("RUSTC", &self.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", remappings(root)?.join("\u{1f}"))
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "s")
            .env("CARGO_PROFILE_RELEASE_LTO", "fat")
            .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
            .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
            .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
            // Macros and build scripts run once: making them fast takes longer than they run.
            .env("CARGO_PROFILE_RELEASE_BUILD_OVERRIDE_OPT_LEVEL", "0");
        // Set by the cargo that runs this task, for its own toolchain.
        for name in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_RUSTFLAGS"] {
            cargo.env_remove(name);
        }
        if self.build_std {
            cargo
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", DEBIAN_LINKER)
                .arg("-Zbuild-std=std,panic_abort");
        }
        run(&mut cargo, &format!("compile the hook {}", hook.name))?;
        Ok(target.join(TARGET).join("release").join(&hook.module))
    }
}

/// Whether Debian's compiler and the sources of its standard library are installed.
fn is_debian_complete() -> bool {
    [DEBIAN_RUSTC, DEBIAN_LINKER].iter().all(|program| Path::new(program).exists())
        && Path::new(DEBIAN_SOURCES).join("library/std").exists()
}

/// Installs Debian's compiler, where this may be done.
fn install_debian() -> Result<()> {
    let install = format!("apt-get install {}", DEBIAN_PACKAGES.join(" "));
    let ways = format!("run `rustup target add {TARGET}`, or as root on Debian `{install}`");
    let is_root = output(Command::new("id").arg("-u"))?.trim() == "0";
    ensure!(is_root && Path::new("/usr/bin/apt-get").exists(), "no toolchain for {TARGET}: {ways}");
    let apt = |arguments: &[&str]| {
        run(Command::new("apt-get").env("DEBIAN_FRONTEND", "noninteractive").args(arguments), &install)
    };
    apt(&["update", "-qq"])?;
    apt(&[&["install", "-qq", "--no-install-recommends", "--yes"], DEBIAN_PACKAGES.as_slice()].concat())
}

/// Flags by which no path of this machine gets into the module.
fn remappings(root: &Path) -> Result<Vec<String>> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(home?.join(".cargo")));
    let cargo_home = cargo_home.context("neither CARGO_HOME nor HOME is set")?;
    let mut flags = vec![
        format!("--remap-path-prefix={}=/jecloud", root.display()),
        format!("--remap-path-prefix={DEBIAN_SOURCES}=/rust"),
    ];
    let registries = cargo_home.join("registry/src");
    // The name of a registry's directory has a hash of its address in it, which differs where a mirror is used.
    if let Ok(entries) = std::fs::read_dir(&registries) {
        let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
        paths.sort();
        flags.extend(paths.iter().map(|path| format!("--remap-path-prefix={}=/crates", path.display())));
    }
    Ok(flags)
}
