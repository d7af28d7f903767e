//! NVIDIA's cards: one device `/dev/nvidiaN` each, described below
//! /proc/driver/nvidia/gpus by the driver.

use super::{Device, Vendor, below, names_in, plain};
use crate::queue::Gpu;
use std::fs;
use std::path::Path;

/// What every program opens besides its card: control, and unified memory. Not
/// `nvidia-modeset`, which steers displays, nor `nvidia-uvm-tools`, by which one
/// process profiles the memory of others.
pub(super) const CONTROLS: [&str; 2] = ["/dev/nvidiactl", "/dev/nvidia-uvm"];

/// Whether the driver made the device.
pub(crate) fn governs(path: &str) -> bool {
    path.starts_with("/dev/nvidia")
}

/// Every render device of a card of NVIDIA's, also of one that has no description
/// and so cannot be told to be its.
pub(super) fn render_devices(root: &Path) -> Vec<String> {
    const VENDOR: &str = "0x10de";
    let is_theirs = |name: &String| {
        let vendor = below(root, &format!("/sys/class/drm/{name}/device/vendor"));
        fs::read_to_string(vendor).is_ok_and(|text| text.trim() == VENDOR)
    };
    let names = names_in(&below(root, "/dev/dri")).into_iter();
    names.filter(is_theirs).map(|name| format!("/dev/dri/{name}")).collect()
}

pub(super) fn discover(root: &Path) -> Vec<Device> {
    let descriptions = descriptions(root);
    let number = |name: &String| -> Option<u32> { name.strip_prefix("nvidia")?.parse().ok() };
    let mut minors: Vec<_> = names_in(&below(root, "/dev")).iter().filter_map(number).collect();
    minors.sort_unstable();
    let described = |minor: u32| descriptions.iter().find(|d| d.minor == minor);
    minors
        .into_iter()
        // Excluded by the administrator (NVreg_ExcludedGpus): it cannot be opened.
        .filter(|minor| !described(*minor).is_some_and(|description| description.excluded))
        .map(|minor| device(root, minor, described(minor)))
        .collect()
}

fn device(root: &Path, minor: u32, description: Option<&Description>) -> Device {
    let mut nodes = vec![format!("/dev/nvidia{minor}")];
    let bus = description.map(|d| format!("/sys/bus/pci/devices/{}/drm", d.address));
    // The same card for Vulkan and OpenCL, where nvidia-drm is loaded.
    let render = bus.iter().flat_map(|bus| names_in(&below(root, bus)));
    let render = render.filter(|name| name.starts_with("renderD"));
    let present = |path: &String| below(root, path).exists();
    nodes.extend(render.map(|name| format!("/dev/dri/{name}")).filter(present));
    let kind = description.map(|d| d.model.clone()).filter(|model| !model.is_empty());
    Device {
        gpu: Gpu {
            name: format!("nvidia{minor}"),
            kind: kind.unwrap_or_else(|| "NVIDIA GPU".to_owned()),
        },
        vendor: Vendor::Nvidia,
        nodes,
        unique: None,
        status: None,
        address: description.map(|d| d.address.clone()),
    }
}

/// What the driver says of one card.
struct Description {
    /// On the PCI bus; the name of its directory.
    address: String,
    minor: u32,
    model: String,
    excluded: bool,
}

fn descriptions(root: &Path) -> Vec<Description> {
    const PLACE: &str = "/proc/driver/nvidia/gpus";
    let read = |address: String| {
        let file = below(root, PLACE).join(&address).join("information");
        let text = fs::read_to_string(file).ok()?;
        let field = |name: &str| {
            let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            found.map(plain)
        };
        Some(Description {
            minor: field("Device Minor")?.parse().ok()?,
            model: field("Model").unwrap_or_default(),
            excluded: field("GPU Excluded").is_some_and(|word| word == "Yes"),
            address,
        })
    };
    names_in(&below(root, PLACE)).into_iter().filter_map(read).collect()
}
