//! The Vulkan loader, found at run time.
//!
//! Linked against Vulkan's loader, a program does not start where there is none. llama.cpp needs four
//! functions of it and gets all others from them; these four are defined here and pass calls on to the
//! loader, if there is one. If not, Vulkan has no version, and llama.cpp goes on without it.

#![allow(
    unsafe_code,
    reason = "a function of Vulkan's C interface, and a library that is loaded at run time"
)]

use libloading::Library;
use std::ffi::{CStr, c_char, c_void};
use std::sync::OnceLock;

/// Any function of Vulkan; null if there is none.
type Function = Option<unsafe extern "system" fn()>;

/// The type of `vkGetInstanceProcAddr`.
type GetInstanceProcAddr = unsafe extern "system" fn(*mut c_void, *const c_char) -> Function;
/// The type of `vkGetDeviceProcAddr`.
type GetDeviceProcAddr = GetInstanceProcAddr;
/// The type of `vkGetPhysicalDeviceFeatures2`.
type GetPhysicalDeviceFeatures2 = unsafe extern "system" fn(*mut c_void, *mut c_void);
/// The type of `vkCmdCopyBuffer`. Buffers are 64-bit handles on every platform.
type CmdCopyBuffer = unsafe extern "system" fn(*mut c_void, u64, u64, u32, *const c_void);

/// Names of the loader, the usual one first.
const NAMES: &[&str] = if cfg!(windows) {
    &["vulkan-1.dll"]
} else if cfg!(target_vendor = "apple") {
    &["libvulkan.1.dylib", "libvulkan.dylib", "libMoltenVK.dylib"]
} else {
    &["libvulkan.so.1", "libvulkan.so"]
};

/// `VK_ERROR_INITIALIZATION_FAILED`.
const INITIALIZATION_FAILED: i32 = -3;

/// Whether this machine has a Vulkan loader.
pub(super) fn is_installed() -> bool {
    loader().is_some()
}

/// The functions of the loader that llama.cpp calls by name.
struct Loader {
    get_instance_proc_addr: GetInstanceProcAddr,
    get_device_proc_addr: GetDeviceProcAddr,
    get_physical_device_features2: GetPhysicalDeviceFeatures2,
    cmd_copy_buffer: CmdCopyBuffer,
}

fn loader() -> Option<&'static Loader> {
    static LOADER: OnceLock<Option<Loader>> = OnceLock::new();
    let find = || {
        NAMES.iter().find_map(|name| {
            load(name)
                .inspect_err(|error| tracing::debug!("no Vulkan loader: {error}"))
                .ok()
        })
    };
    LOADER.get_or_init(find).as_ref()
}

fn load(name: &str) -> Result<Loader, libloading::Error> {
    // SAFETY: the loader is a system library whose initialization has no requirements. The types are those
    // that Vulkan gives the functions.
    unsafe {
        let library = Library::new(name)?;
        let loader = Loader {
            get_instance_proc_addr: *library.get(b"vkGetInstanceProcAddr\0")?,
            get_device_proc_addr: *library.get(b"vkGetDeviceProcAddr\0")?,
            get_physical_device_features2: *library.get(b"vkGetPhysicalDeviceFeatures2\0")?,
            cmd_copy_buffer: *library.get(b"vkCmdCopyBuffer\0")?,
        };
        // llama.cpp keeps functions of it until the process ends.
        std::mem::forget(library);
        Ok(loader)
    }
}

/// # Safety
/// As Vulkan demands it: `name` is a C string, `instance` null or an instance.
#[unsafe(no_mangle)]
unsafe extern "system" fn vkGetInstanceProcAddr(
    instance: *mut c_void,
    name: *const c_char,
) -> Function {
    if let Some(loader) = loader() {
        // SAFETY: what the caller guarantees is what the loader demands.
        return unsafe { (loader.get_instance_proc_addr)(instance, name) };
    }
    if name.is_null() {
        return None;
    }
    // SAFETY: the caller guarantees a C string.
    let name = unsafe { CStr::from_ptr(name) };
    if name != c"vkEnumerateInstanceVersion" {
        return None;
    }
    // SAFETY: callers turn the pointer into the function's own type again, which Vulkan gives it, before
    // they call it.
    Some(unsafe {
        std::mem::transmute::<unsafe extern "system" fn(*mut u32) -> i32, unsafe extern "system" fn()>(
            no_version,
        )
    })
}

/// # Safety
/// As Vulkan demands it: a device, and a C string.
#[unsafe(no_mangle)]
unsafe extern "system" fn vkGetDeviceProcAddr(
    device: *mut c_void,
    name: *const c_char,
) -> Function {
    // SAFETY: as for the caller.
    loader().and_then(|loader| unsafe { (loader.get_device_proc_addr)(device, name) })
}

/// # Safety
/// As Vulkan demands it: a physical device, and a structure to fill.
#[unsafe(no_mangle)]
unsafe extern "system" fn vkGetPhysicalDeviceFeatures2(device: *mut c_void, features: *mut c_void) {
    // Without a loader there is no device to ask about.
    if let Some(loader) = loader() {
        // SAFETY: as for the caller.
        unsafe { (loader.get_physical_device_features2)(device, features) }
    }
}

/// # Safety
/// As Vulkan demands it: a command buffer that records, two buffers, and `count` regions.
#[unsafe(no_mangle)]
unsafe extern "system" fn vkCmdCopyBuffer(
    commands: *mut c_void,
    source: u64,
    destination: u64,
    count: u32,
    regions: *const c_void,
) {
    // Without a loader there are no commands to record.
    if let Some(loader) = loader() {
        // SAFETY: as for the caller.
        unsafe { (loader.cmd_copy_buffer)(commands, source, destination, count, regions) }
    }
}

/// `vkEnumerateInstanceVersion` where there is no Vulkan.
unsafe extern "system" fn no_version(_: *mut u32) -> i32 {
    INITIALIZATION_FAILED
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_loader_there_is_no_version() {
        // SAFETY: it does not look at its argument.
        assert_eq!(unsafe { no_version(std::ptr::null_mut()) }, -3);
    }

    #[test]
    fn the_loader_answers_where_there_is_one() {
        // SAFETY: null is allowed for functions that need no instance, and the name is a C string.
        let function = unsafe {
            vkGetInstanceProcAddr(std::ptr::null_mut(), c"vkEnumerateInstanceVersion".as_ptr())
        };
        assert!(function.is_some());
        // SAFETY: as above.
        let other = unsafe { vkGetInstanceProcAddr(std::ptr::null_mut(), c"vkSurelyNot".as_ptr()) };
        assert!(other.is_none());
    }
}
