//! The system calls that a worker has no use for, refused by seccomp.
//!
//! Libraries differ in what they call, with each release and each GPU's driver. So this is a list of what is
//! refused: whatever leads to the network, to other processes, or to a file that is not only read. Landlock
//! ([`super::sandbox`]) says which files are read. A refused call fails, and ends nothing.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter_all_threads,
};
use std::collections::BTreeMap;

type Error = Box<dyn std::error::Error + Send + Sync>;
type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Refused whatever their arguments are: the network, other processes, the system.
const REFUSED: &[i64] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_add_key,
    libc::SYS_bind,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_connect,
    libc::SYS_delete_module,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_ioprio_set,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_kill,
    libc::SYS_listen,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_mq_open,
    libc::SYS_msgget,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_personality,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_semget,
    libc::SYS_setns,
    libc::SYS_setpriority,
    libc::SYS_shmget,
    libc::SYS_socket,
    libc::SYS_tkill,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// Refused as if the kernel did not have them: what they do is hidden from this filter, or newer calls of the same
/// kind are used instead.
const UNKNOWN: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_openat2,
];

/// Refused unless the worker has a folder for files of its own; there Landlock says which.
const CHANGING: &[i64] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_renameat2,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_unlinkat,
    libc::SYS_utimensat,
];

#[cfg(target_arch = "x86_64")]
const OLD_REFUSED: &[i64] = &[libc::SYS_fork, libc::SYS_vfork];
#[cfg(target_arch = "x86_64")]
const OLD_CHANGING: &[i64] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_lchown,
    libc::SYS_link,
    libc::SYS_mkdir,
    libc::SYS_mknod,
    libc::SYS_rename,
    libc::SYS_renameat,
    libc::SYS_rmdir,
    libc::SYS_symlink,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_REFUSED: &[i64] = &[];
#[cfg(not(target_arch = "x86_64"))]
const OLD_CHANGING: &[i64] = &[];

/// What `open` is told to do more than reading.
const WRITING: u64 = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC) as u64;
/// The bit of the same calls with pointers of 32 bits, which some kernels have.
#[cfg(target_arch = "x86_64")]
const X32: i64 = 0x4000_0000;

/// Commands of `fcntl`, and of `ioctl`, that have the kernel send signals to whom they name.
const SIGNALLING: [[u64; 3]; 2] = [
    // F_SETOWN, F_SETSIG, F_SETOWN_EX
    [8, 10, 15],
    // FIOSETOWN, SIOCSPGRP, FIOASYNC
    [0x8901, 0x8902, 0x5452],
];

/// Refuses the calls on every thread of this process, for ever. Files may be made if it `writes`, and opened
/// for writing if it writes or has `devices`.
pub(super) fn refuse(writes: bool, devices: bool) -> Result<(), Error> {
    let mut rules = Rules::new();
    let mut refuse = |calls: &[i64]| {
        for call in calls {
            rules.insert(*call, Vec::new());
        }
    };
    refuse(REFUSED);
    refuse(OLD_REFUSED);
    if !writes {
        refuse(CHANGING);
        refuse(OLD_CHANGING);
    }
    // Threads are made, processes are not.
    let thread = u64::try_from(libc::CLONE_THREAD)?;
    rules.insert(
        libc::SYS_clone,
        vec![rule(0, SeccompCmpOp::MaskedEq(thread), 0)?],
    );
    // Signals go to this process, as those of `abort` do.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![rule(0, SeccompCmpOp::Ne, own)?]);
    for call in [
        libc::SYS_prlimit64,
        libc::SYS_sched_setattr,
        libc::SYS_sched_setparam,
        libc::SYS_sched_setscheduler,
    ] {
        rules.insert(call, vec![rule_two(0, own)?]);
    }
    for (call, commands) in [libc::SYS_fcntl, libc::SYS_ioctl]
        .into_iter()
        .zip(SIGNALLING)
    {
        let commands = commands.map(|command| rule(1, SeccompCmpOp::Eq, command));
        rules.insert(call, commands.into_iter().collect::<Result<_, _>>()?);
    }
    if !writes && !devices {
        rules.insert(libc::SYS_openat, writing(2)?);
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_open, writing(1)?);
    }
    let unknown = UNKNOWN.iter().map(|call| (*call, Vec::new())).collect();
    // The filters are made before the first one counts.
    let filters = [filter(unknown, libc::ENOSYS)?, filter(rules, libc::EPERM)?];
    for filter in &filters {
        apply_filter_all_threads(filter)?;
    }
    Ok(())
}

/// Refuses `open` for everything but reading, by its argument of flags.
fn writing(argument: u8) -> Result<Vec<SeccompRule>, Error> {
    (0..u64::BITS)
        .map(|bit| 1 << bit)
        .filter(|bit| WRITING & bit != 0)
        .map(|bit| rule(argument, SeccompCmpOp::MaskedEq(bit), bit))
        .collect()
}

fn rule(argument: u8, compare: SeccompCmpOp, value: u64) -> Result<SeccompRule, Error> {
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

/// Another process than this one, which is also called 0.
fn rule_two(argument: u8, own: u64) -> Result<SeccompRule, Error> {
    let differs =
        |value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, value);
    Ok(SeccompRule::new(vec![differs(own)?, differs(0)?])?)
}

fn filter(rules: Rules, errno: i32) -> Result<BpfProgram, Error> {
    #[cfg(target_arch = "x86_64")]
    let rules = rules
        .into_iter()
        .flat_map(|(call, rules)| [(call, rules.clone()), (call | X32, rules)])
        .collect();
    let refuse = SeccompAction::Errno(u32::try_from(errno)?);
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch)?;
    Ok(filter.try_into()?)
}
