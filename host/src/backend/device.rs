//! The devices that backends compute on.

/// A device as a backend sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The backend's name for it, such as `Vulkan0` or `CPU`.
    pub name: String,
    /// What it is, such as `NVIDIA H100 80GB HBM3`.
    pub description: String,
    /// What kind of device it is.
    pub kind: DeviceKind,
    /// Its memory, if the backend knows.
    pub memory: Option<DeviceMemory>,
}

/// What kind of device it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceKind {
    /// The processor, or software that runs on it.
    Cpu,
    /// A graphics card with memory of its own.
    Gpu,
    /// A graphics processor that shares the processor's memory.
    IntegratedGpu,
    /// Anything else that computes.
    Accelerator,
}

/// Memory of a device in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// What can be allocated now.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

impl DeviceKind {
    /// Every kind with its name.
    pub const NAMES: [(Self, &'static str); 4] = [
        (Self::Cpu, "CPU"),
        (Self::Gpu, "GPU"),
        (Self::IntegratedGpu, "integrated GPU"),
        (Self::Accelerator, "accelerator"),
    ];

    /// Whether target `GPU` means this.
    pub fn is_gpu(self) -> bool {
        matches!(self, Self::Gpu | Self::IntegratedGpu)
    }
}
