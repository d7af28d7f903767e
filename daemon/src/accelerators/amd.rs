//! AMD's cards: nodes of the kernel's compute topology, each with a render device.

use super::{Device, Vendor, below, names_in, number, plain};
use crate::queue::Gpu;
use std::fs;
use std::path::Path;

/// The compute queues of all cards. What a process may use of them the driver
/// decides by the render devices that it opened.
pub(super) const CONTROLS: [&str; 1] = ["/dev/kfd"];

const TOPOLOGY: &str = "/sys/class/kfd/kfd/topology/nodes";

/// Render devices are numbered from here on (drm(7)).
const FIRST_RENDER_MINOR: u32 = 128;

pub(super) fn discover(root: &Path) -> Vec<Device> {
    let nodes = below(root, TOPOLOGY);
    let mut found: Vec<_> =
        names_in(&nodes).into_iter().filter_map(|node| device(root, &nodes.join(node))).collect();
    found.sort_by_key(|(minor, _)| *minor);
    found.into_iter().map(|(_, device)| device).collect()
}

/// The card of a node with the number of its render device; a processor has none.
fn device(root: &Path, node: &Path) -> Option<(u32, Device)> {
    let id: u64 = number(&node.join("gpu_id"))?;
    let properties = fs::read_to_string(node.join("properties")).ok()?;
    let property = |name: &str| -> Option<u64> {
        properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    };
    let minor = u32::try_from(property("drm_render_minor")?).ok()?;
    let index = minor.checked_sub(FIRST_RENDER_MINOR).filter(|_| id != 0)?;
    let render = format!("/dev/dri/renderD{minor}");
    if !below(root, &render).exists() {
        return None;
    }
    let status = below(root, &format!("/sys/class/drm/renderD{minor}/device"));
    let text = |file: &Path| fs::read_to_string(file).map(|t| plain(&t)).unwrap_or_default();
    let models = [text(&status.join("product_name")), text(&node.join("name"))];
    let model = models.into_iter().find(|model| !model.is_empty());
    let kind = match model {
        Some(model) if model.starts_with("AMD") => model,
        Some(model) => format!("AMD {model}"),
        None => "AMD GPU".to_owned(),
    };
    let unique = property("unique_id").filter(|id| *id != 0).map(|id| format!("GPU-{id:016x}"));
    let gpu = Gpu { name: format!("amd{index}"), kind };
    let (nodes, status) = (vec![render], Some(status));
    Some((minor, Device { gpu, vendor: Vendor::Amd, nodes, unique, status, address: None }))
}
