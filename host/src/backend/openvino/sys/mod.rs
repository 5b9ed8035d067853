//! OpenVINO's C interface, as much of it as is needed, made safe.
//!
//! Here and not with the crate `openvino`, since that one has no scalars, takes no tensor of foreign memory,
//! frees some texts and ports never and one tensor twice. Each type owns one object of the library, and
//! frees it.

#![allow(unsafe_code, reason = "calls of OpenVINO's C interface")]

mod failure;
mod ports;
mod tensors;

use crate::backend::shorten;
use crate::backend::tensors::port::Port;
use crate::{Error, ErrorCode};
pub(super) use failure::Failure;
use failure::check;
use openvino_sys::*;
use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr::{NonNull, null, null_mut};
use std::sync::Arc;
pub(super) use tensors::Output;

/// Defines a type that owns an object of the library.
macro_rules! owned {
    ($(#[$doc:meta])* $name:ident, $object:ty, $free:path) => {
        $(#[$doc])*
        pub(super) struct $name(NonNull<$object>);

        impl $name {
            /// The object that `create` makes.
            fn create(create: impl FnOnce(*mut *mut $object) -> ov_status_e) -> Result<Self, Failure> {
                let mut object = null_mut();
                check(create(&raw mut object))?;
                NonNull::new(object).map(Self).ok_or_else(|| Failure::new("an object is null"))
            }

            fn as_ptr(&self) -> *mut $object {
                self.0.as_ptr()
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: the object is this value's own, and not used any more.
                unsafe { $free(self.as_ptr()) }
            }
        }
    };
}

owned! {
    /// The library's root: its devices, and all that reads models.
    Core, ov_core_t, ov_core_free
}
owned! {
    /// A model that was read.
    Model, ov_model_t, ov_model_free
}
owned! {
    /// A model that was compiled for a device.
    Compiled, ov_compiled_model_t, ov_compiled_model_free
}
owned!(RequestHandle, ov_infer_request_t, ov_infer_request_free);
owned!(Buffer, ov_tensor_t, ov_tensor_free);
owned!(ConstPort, ov_output_const_port_t, ov_output_const_port_free);

// SAFETY: the library binds none of its objects to a thread.
unsafe impl Send for Core {}
// SAFETY: as above.
unsafe impl Send for Compiled {}
// SAFETY: what a shared one is asked for, its ports and new requests, are functions of the library that change nothing
// in it, and it guards what they have in common.
unsafe impl Sync for Compiled {}
// SAFETY: as above.
unsafe impl Send for RequestHandle {}
// SAFETY: what others than its one `Request` do with it is to cancel, which the library allows at any time.
unsafe impl Sync for RequestHandle {}

/// Computes with a compiled model.
///
/// After [`infer`](Self::infer) it holds pointers to inputs that may be gone. They are not followed before the next
/// one, which sets each anew.
pub(super) struct Request(Arc<RequestHandle>);

/// Ends the computation of a request.
pub(super) struct Canceller(Arc<RequestHandle>);

impl Core {
    /// Loads the library.
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        let wrong = |reason: String| Error::new(ErrorCode::RuntimeError, reason);
        // The binding takes any library, keeps it for good, and panics when it calls it.
        // SAFETY: whoever started the host says that this is OpenVINO, whose initialization has no requirements.
        let library =
            unsafe { libloading::Library::new(path) }.map_err(|error| wrong(error.to_string()))?;
        // SAFETY: the symbol is not used.
        unsafe { library.get::<*const ()>(b"ov_get_openvino_version\0") }
            .map_err(|error| wrong(format!("it is not OpenVINO: {error}")))?;
        std::mem::forget(library);
        openvino_sys::library::load_from(path).map_err(wrong)?;
        Ok(Self::new()?)
    }

    /// A further one. This is for those that have one: the library is loaded.
    pub(super) fn another(&self) -> Result<Self, Failure> {
        Self::new()
    }

    fn new() -> Result<Self, Failure> {
        // SAFETY: `core` is a place for the pointer.
        Self::create(|core| unsafe { ov_core_create(core) })
    }

    /// The names of the devices there are, such as `CPU` and `GPU.0`.
    pub(super) fn devices(&self) -> Result<Vec<String>, Failure> {
        let mut devices = ov_available_devices_t {
            devices: null_mut(),
            size: 0,
        };
        // SAFETY: the core lives, and `devices` is a place for the list.
        check(unsafe { ov_core_get_available_devices(self.as_ptr(), &raw mut devices) })?;
        let names = (0..devices.size)
            .map(|i| {
                // SAFETY: the list has `size` strings.
                let name = unsafe { CStr::from_ptr(*devices.devices.add(i)) };
                name.to_string_lossy().into_owned()
            })
            .collect();
        // SAFETY: the list is the library's, and its names have been copied.
        unsafe { ov_available_devices_free(&raw mut devices) };
        Ok(names)
    }

    pub(super) fn property(&self, device: &str, key: &CStr) -> Result<String, Failure> {
        let device = c_string(device)?;
        let mut value = null_mut();
        // SAFETY: the core lives, the names are C strings, and `value` is a place for the pointer.
        check(unsafe {
            ov_core_get_property(self.as_ptr(), device.as_ptr(), key.as_ptr(), &raw mut value)
        })?;
        // SAFETY: the library has allocated the value for its caller.
        Ok(unsafe { take_text(value) }.unwrap_or_default())
    }

    /// Sets how many threads of the processor compute one inference, for models compiled from now on.
    pub(super) fn set_threads(&self, threads: u16) -> Result<(), Failure> {
        match threads {
            // An executor with one thread loses the failure of an inference, and the last outputs pass for
            // new ones. Without an executor, the thread that asks computes.
            1 => self.set_property(c"CPU", c"NUM_STREAMS", "0"),
            _ => self.set_property(c"CPU", c"INFERENCE_NUM_THREADS", &threads.to_string()),
        }
    }

    fn set_property(&self, device: &CStr, key: &CStr, value: &str) -> Result<(), Failure> {
        let value = c_string(value)?;
        // SAFETY: the core lives, and key and value are C strings, as the library expects for a property that
        // is a text.
        check(unsafe {
            ov_core_set_property(self.as_ptr(), device.as_ptr(), key.as_ptr(), value.as_ptr())
        })
    }

    pub(super) fn read_files(&self, xml: &Path, weights: Option<&Path>) -> Result<Model, Failure> {
        let name = |path: &Path| match path.to_str() {
            Some(path) => c_string(path),
            None => Err(Failure::new("expected a path in UTF-8")),
        };
        let xml = name(xml)?;
        let weights = weights.map(name).transpose()?;
        let weights = weights.as_ref().map_or(null(), |weights| weights.as_ptr());
        // SAFETY: the core lives, the paths are C strings or null, which stands for no weights.
        Model::create(|model| unsafe {
            ov_core_read_model(self.as_ptr(), xml.as_ptr(), weights, model)
        })
    }

    pub(super) fn read_bytes(&self, xml: &[u8], weights: &[u8]) -> Result<Model, Failure> {
        // The model shares the weights with this buffer, which the library counts references to.
        let buffer = match weights {
            [] => None,
            _ => Some(Buffer::copy_of(
                ov_element_type_e::U8,
                &mut [i64::try_from(weights.len()).map_err(|_| Failure::new("too long"))?],
                weights,
            )?),
        };
        let buffer = buffer
            .as_ref()
            .map_or(null(), |buffer| buffer.as_ptr().cast_const());
        // SAFETY: the core lives, the XML has this length, and the buffer lives or is null, which stands for no
        // weights.
        Model::create(|model| unsafe {
            ov_core_read_model_from_memory_buffer(
                self.as_ptr(),
                xml.as_ptr().cast(),
                xml.len(),
                buffer,
                model,
            )
        })
    }

    /// Compiles a model.
    pub(super) fn compile(&self, model: &Model, device: &str) -> Result<Compiled, Failure> {
        let device = c_string(device)?;
        // SAFETY: core and model live, the device is a C string, and no properties follow.
        Compiled::create(|compiled| unsafe {
            ov_core_compile_model(self.as_ptr(), model.as_ptr(), device.as_ptr(), 0, compiled)
        })
    }
}

impl Compiled {
    pub(super) fn inputs(&self) -> Result<Vec<Port>, Failure> {
        let mut size = 0;
        // SAFETY: the model lives, and `size` is a place for the number.
        check(unsafe { ov_compiled_model_inputs_size(self.as_ptr(), &raw mut size) })?;
        // SAFETY: the model lives, `index` is below their number, and `port` is a place for the pointer.
        self.ports(size, |index, port| unsafe {
            ov_compiled_model_input_by_index(self.as_ptr(), index, port)
        })
    }

    pub(super) fn outputs(&self) -> Result<Vec<Port>, Failure> {
        let mut size = 0;
        // SAFETY: the model lives, and `size` is a place for the number.
        check(unsafe { ov_compiled_model_outputs_size(self.as_ptr(), &raw mut size) })?;
        // SAFETY: the model lives, `index` is below their number, and `port` is a place for the pointer.
        self.ports(size, |index, port| unsafe {
            ov_compiled_model_output_by_index(self.as_ptr(), index, port)
        })
    }

    fn ports(
        &self,
        size: usize,
        get: impl Fn(usize, *mut *mut ov_output_const_port_t) -> ov_status_e,
    ) -> Result<Vec<Port>, Failure> {
        (0..size)
            .map(|index| ConstPort::create(|port| get(index, port))?.describe(index))
            .collect()
    }

    /// The name that [`inputs`](Self::inputs) has of the input with this name, which is one of several.
    pub(super) fn input_name(&self, name: &str) -> Option<String> {
        let name = c_string(name).ok()?;
        // SAFETY: the model lives, the name is a C string, and `port` is a place for the pointer.
        let port = ConstPort::create(|port| unsafe {
            ov_compiled_model_input_by_name(self.as_ptr(), name.as_ptr(), port)
        });
        port.ok()?.name()
    }

    /// The same of an output.
    pub(super) fn output_name(&self, name: &str) -> Option<String> {
        let name = c_string(name).ok()?;
        // SAFETY: the model lives, the name is a C string, and `port` is a place for the pointer.
        let port = ConstPort::create(|port| unsafe {
            ov_compiled_model_output_by_name(self.as_ptr(), name.as_ptr(), port)
        });
        port.ok()?.name()
    }

    pub(super) fn request(&self) -> Result<Request, Failure> {
        // SAFETY: the model lives, and `request` is a place for the pointer.
        let handle = RequestHandle::create(|request| unsafe {
            ov_compiled_model_create_infer_request(self.as_ptr(), request)
        })?;
        Ok(Request(Arc::new(handle)))
    }
}

/// Copies a text of the library and frees it.
///
/// # Safety
/// `text` is null or a string that the library has allocated for its caller.
unsafe fn take_text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller guarantees a string, which is freed after its last use.
    unsafe {
        let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
        ov_free(text);
        Some(copy)
    }
}

fn c_string(text: &str) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| Failure::new(format!("`{}` has a null byte", shorten(text))))
}
