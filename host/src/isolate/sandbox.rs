//! What a worker may still do once it knows its model: read the model's files, and compute.
//!
//! | what | by |
//! |---|---|
//! | no file but those of [`readable`] and the model's, none to be written or run | Landlock |
//! | no network | seccomp, and Landlock |
//! | no other process, nothing that changes files | seccomp |
//!
//! It is entered when the backend's library is loaded, and before the model's first byte is read. Files that
//! libraries load later are in their folders, or in those of `LD_LIBRARY_PATH`.

use super::syscalls;
use crate::{Error, ErrorCode};
use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    RestrictSelfAttr, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
    path_beneath_rules,
};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What libraries read of the system, by everyone who has it: their own folders, and what the processor is.
const SYSTEM: [&str; 16] = [
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/self",
    "/proc/stat",
    "/proc/sys/vm",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
];

/// What drivers of GPUs read.
const DRIVERS: [&str; 10] = [
    "/etc/OpenCL",
    "/etc/vulkan",
    "/opt/rocm",
    "/proc/devices",
    "/proc/driver",
    "/proc/modules",
    "/sys",
    "/usr/local/cuda",
    "/usr/local/nvidia",
    "/usr/share",
];

/// NVIDIA's driver names its threads by files in there, and does not start where it cannot.
const THREADS: &str = "/proc/self/task";

/// Devices that everyone may have.
const DEVICES: [&str; 4] = ["/dev/null", "/dev/random", "/dev/urandom", "/dev/zero"];

/// GPUs. Others of NVIDIA have numbers.
const GPUS: [&str; 3] = ["/dev/dri", "/dev/dxg", "/dev/kfd"];

/// What a worker needs.
pub(super) struct Needs {
    /// The model's files.
    pub(super) model: Vec<PathBuf>,
    /// A folder for files of its own.
    pub(super) scratch: Option<PathBuf>,
    /// Whether a GPU computes.
    pub(super) gpu: bool,
    /// How many threads there were beside the first one when `serve` was called.
    pub(super) own_threads: usize,
    /// How many threads the process had when no library was loaded.
    pub(super) threads: usize,
}

/// Restricts this process for ever. Gives what the system cannot enforce; fails at that if `strict`.
pub(super) fn enter(needs: &Needs, strict: bool) -> Result<Vec<String>, Error> {
    let mut missing = Vec::new();
    match restrict_files(needs) {
        Ok(Some(lack)) if strict || lack.counts => missing.push(lack.what),
        Ok(Some(lack)) => tracing::debug!("without {}", lack.what),
        Ok(None) => {}
        Err(error) => missing.push(format!("files and TCP, by Landlock ({error})")),
    }
    if let Err(error) = syscalls::refuse(needs.scratch.is_some(), needs.gpu) {
        missing.push(format!("network and processes, by seccomp ({error})"));
    }
    if strict && !missing.is_empty() {
        return Err(Error::new(
            ErrorCode::Security,
            format!(
                "expected a system that can restrict what a worker process does, since that was asked for; \
                 missing: {}. Use a newer kernel, or isolation that is not strict",
                missing.join("; ")
            ),
        ));
    }
    Ok(missing)
}

/// What Landlock cannot enforce.
struct Lack {
    what: String,
    /// Whether seccomp does not refuse the same.
    counts: bool,
}

fn restrict_files(needs: &Needs) -> Result<Option<Lack>, RulesetError> {
    // Kernels that have less enforce less.
    let known = ABI::V6;
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let write = read | AccessFs::WriteFile;
    let gpus = if needs.gpu { gpus() } else { Vec::new() };
    let (drivers, names): (&[&str], &[&str]) = if needs.gpu {
        (&DRIVERS, &[THREADS])
    } else {
        (&[], &[])
    };
    let scratch: BitFlags<AccessFs> = AccessFs::from_all(known) & !AccessFs::Execute;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(known))?
        .handle_access(AccessNet::from_all(known))?
        .scope(Scope::from_all(known))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read))?
        .add_rules(path_beneath_rules(drivers, read))?
        .add_rules(path_beneath_rules(names, write))?
        .add_rules(path_beneath_rules(libraries(), read))?
        .add_rules(path_beneath_rules(search_path(), read))?
        .add_rules(path_beneath_rules(&needs.model, read))?
        .add_rules(path_beneath_rules(DEVICES, write))?
        .add_rules(path_beneath_rules(gpus, write | AccessFs::IoctlDev))?
        .add_rules(path_beneath_rules(&needs.scratch, scratch))?
        .all_threads(true)?
        .restrict_self()?;
    let older = threads().saturating_sub(needs.threads);
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => Some(Lack {
            what: "files and TCP, by Landlock, which this kernel does not have or has switched off"
                .into(),
            counts: true,
        }),
        (_, LandlockStatus::Available { effective_abi, .. }) if effective_abi < known => {
            Some(Lack {
                what: format!(
                    "a part of files, TCP and signals, by Landlock, of which this kernel has version {effective_abi:?}"
                ),
                // Before the third one files can be cut short anywhere, which seccomp refuses who writes none.
                counts: needs.scratch.is_some() && effective_abi < ABI::V3,
            })
        }
        _ if needs.own_threads > 0 && !status.all_threads => Some(Lack {
            what: format!(
                "files and TCP for {} threads that the program had started before `isolate::serve`, by Landlock, which this \
                 kernel has for all threads only from its version 8: call it at the beginning of `main`",
                needs.own_threads
            ),
            counts: true,
        }),
        _ if older > 0 && !status.all_threads => Some(Lack {
            what: format!(
                "files and TCP for {older} threads that libraries had started before, by Landlock, which this kernel has \
                 for all threads only from its version 8"
            ),
            // They read, but seccomp lets them neither write nor send.
            counts: false,
        }),
        _ => None,
    })
}

/// The folders of the libraries that are loaded: they load others from there.
fn libraries() -> BTreeSet<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let own = std::env::current_exe().unwrap_or_default();
    let files = maps.lines().filter_map(|line| {
        let path = Path::new(&line[line.find('/')?..]);
        let name = path.file_name()?.to_str()?;
        let is_library = name.ends_with(".so") || name.contains(".so.");
        (is_library && path != own).then(|| path.parent()).flatten()
    });
    files
        // The root is everything.
        .filter(|folder| folder.parent().is_some())
        .map(Path::to_path_buf)
        .collect()
}

/// Where the loader looks for the libraries that others need, cuDNN's parts for example.
fn search_path() -> Vec<PathBuf> {
    let value = std::env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    folders_in(&value)
}

fn folders_in(search_path: &OsStr) -> Vec<PathBuf> {
    std::env::split_paths(search_path)
        // The root is everything, and the working folder is anything.
        .filter(|folder| folder.is_absolute() && folder.parent().is_some())
        .collect()
}

fn gpus() -> Vec<PathBuf> {
    let devices = Path::new("/dev").read_dir().into_iter().flatten();
    let nvidia = devices
        .filter_map(Result::ok)
        .filter(|file| file.file_name().to_string_lossy().starts_with("nvidia"))
        .map(|file| file.path());
    nvidia.chain(GPUS.map(PathBuf::from)).collect()
}

/// How many threads the process has.
pub(super) fn threads() -> usize {
    Path::new(THREADS).read_dir().map_or(1, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_path_opens_neither_the_root_nor_the_working_folder() {
        let folders = folders_in(OsStr::new(
            "/opt/cudnn/lib::/:lib:.:/usr/local/nvidia/lib64",
        ));
        assert_eq!(
            folders,
            [
                Path::new("/opt/cudnn/lib"),
                Path::new("/usr/local/nvidia/lib64")
            ]
        );
        assert!(folders_in(OsStr::new("")).is_empty());
    }
}
