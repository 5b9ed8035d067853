//! The Vulkan loader, found at run time.
//!
//! llama.cpp's Vulkan code needs one function of the loader, `vkGetInstanceProcAddr`, from which it gets
//! all others. Linked against the loader, a program does not start where there is none. So the function
//! is defined here and passes calls on to the loader, if there is one. If not, Vulkan has no version,
//! and llama.cpp goes on without it.

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

fn loader() -> Option<GetInstanceProcAddr> {
    static LOADER: OnceLock<Option<GetInstanceProcAddr>> = OnceLock::new();
    *LOADER.get_or_init(|| {
        NAMES.iter().find_map(|name| {
            // SAFETY: the loader is a system library whose initialization has no requirements.
            let library = unsafe { Library::new(name) }
                .inspect_err(|error| tracing::debug!("no Vulkan loader: {error}"))
                .ok()?;
            // SAFETY: Vulkan gives this function this type.
            let function =
                *unsafe { library.get::<GetInstanceProcAddr>(b"vkGetInstanceProcAddr\0") }
                    .inspect_err(|error| tracing::debug!("{name} is no Vulkan loader: {error}"))
                    .ok()?;
            // llama.cpp keeps functions of it until the process ends.
            std::mem::forget(library);
            Some(function)
        })
    })
}

/// # Safety
/// As Vulkan demands it: `name` is a C string, `instance` null or an instance.
#[unsafe(no_mangle)]
unsafe extern "system" fn vkGetInstanceProcAddr(
    instance: *mut c_void,
    name: *const c_char,
) -> Function {
    if let Some(function) = loader() {
        // SAFETY: what the caller guarantees is what the loader demands.
        return unsafe { function(instance, name) };
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
