//! How much memory the system can give: to everyone, and to the control groups of this process, which is what
//! containers and services are limited by.

use std::fs::read_to_string;
use std::path::{Path, PathBuf};

/// How many bytes the system can give, if it says.
pub(super) fn available() -> Option<u64> {
    let groups = read_to_string("/proc/self/cgroup").unwrap_or_default();
    in_system()
        .into_iter()
        .chain(in_groups(Path::new("/sys/fs/cgroup"), &groups))
        .min()
}

fn in_system() -> Option<u64> {
    let text = read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

/// Where a version of control groups says what.
struct Version {
    limit: &'static str,
    used: &'static str,
    /// What of it the kernel takes back when it is needed.
    files: [&'static str; 2],
}

const FIRST: Version = Version {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    files: ["total_active_file", "total_inactive_file"],
};

const SECOND: Version = Version {
    limit: "memory.max",
    used: "memory.current",
    files: ["active_file", "inactive_file"],
};

/// The least that one of the groups has left, below `root`, where the groups are those that the process tells of.
fn in_groups(root: &Path, groups: &str) -> Option<u64> {
    groups
        .lines()
        .filter_map(|line| {
            let (_, line) = line.split_once(':')?;
            let (controllers, path) = line.split_once(':')?;
            let (version, root) = match controllers {
                "" => (SECOND, root.to_owned()),
                _ if controllers.split(',').any(|name| name == "memory") => {
                    (FIRST, root.join("memory"))
                }
                _ => return None,
            };
            folders(&root, path)
                .iter()
                .filter_map(|folder| version.left(folder))
                .min()
        })
        .min()
}

/// The folder of a group and those of the groups around it. In a container some of them may not be there.
fn folders(root: &Path, path: &str) -> Vec<PathBuf> {
    let path = Path::new(path.trim_start_matches('/'));
    path.ancestors().map(|path| root.join(path)).collect()
}

impl Version {
    /// How many bytes a group has left, if it is limited.
    fn left(&self, folder: &Path) -> Option<u64> {
        let number = |file| read_to_string(folder.join(file)).ok()?.trim().parse().ok();
        let limit: u64 = number(self.limit)?;
        let used: u64 = number(self.used)?;
        let stat = read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let files = stat
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| self.files.contains(name))
            .filter_map(|(_, bytes)| bytes.parse().ok())
            .fold(0, u64::saturating_add);
        Some(limit.saturating_sub(used.saturating_sub(files)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn group(folder: &Path, files: [(&str, &str); 3]) {
        fs::create_dir_all(folder).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
    }

    #[test]
    fn the_system_says_what_is_left() {
        if cfg!(target_os = "linux") {
            assert!(available().is_some_and(|bytes| bytes > 0));
        }
    }

    #[test]
    fn the_tightest_of_the_groups_counts() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let of = |limit, used, stat| {
            [
                ("memory.max", limit),
                ("memory.current", used),
                ("memory.stat", stat),
            ]
        };
        let groups = "0::/service/one\n";
        assert_eq!(in_groups(root, groups), None);
        group(&root.join("service/one"), of("max\n", "700\n", ""));
        assert_eq!(in_groups(root, groups), None);
        let stat = "anon 400\nactive_file 100\ninactive_file 50\nfile 999\n";
        group(&root.join("service"), of("1000\n", "700\n", stat));
        assert_eq!(in_groups(root, groups), Some(450));
        group(&root.join("service/one"), of("600\n", "500\n", ""));
        assert_eq!(in_groups(root, groups), Some(100));
        // In a container the group itself is at the root, whatever its name.
        group(root, of("2000\n", "2500\n", ""));
        assert_eq!(in_groups(root, "0::/other/name\n"), Some(0));
        assert_eq!(in_groups(root, "nonsense\n1:cpu\n2:cpu:/\n"), None);
    }

    #[test]
    fn groups_of_the_first_version() {
        let root = tempfile::tempdir().unwrap();
        let stat = "inactive_file 7\ntotal_inactive_file 50\ntotal_active_file 0\n";
        group(
            &root.path().join("memory/job"),
            [
                ("memory.limit_in_bytes", "1000\n"),
                ("memory.usage_in_bytes", "900\n"),
                ("memory.stat", stat),
            ],
        );
        let groups = "5:cpu,cpuacct:/job\n4:hugetlb,memory:/job\n";
        assert_eq!(in_groups(root.path(), groups), Some(150));
    }
}
