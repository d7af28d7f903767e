//! The machine's accelerators: which there are, which devices each needs, and what
//! its driver says of it. Found by what the kernel's drivers show in /proc, /sys and
//! /dev; no vendor's library is asked, and none need be there.
//!
//! Whole cards alone: parts of NVIDIA's (MIG) are neither found nor given out.

mod amd;
mod nvidia;

pub(crate) use nvidia::governs as is_nvidia;

use crate::queue::Gpu;
use fetchml_api::job::GpuUse;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Who made it, which decides what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Vendor {
    Amd,
    Nvidia,
}

/// One accelerator of this machine.
#[derive(Clone, Debug)]
struct Device {
    gpu: Gpu,
    vendor: Vendor,
    /// Devices that are its alone, absolute.
    nodes: Vec<String>,
    /// What the runtime of ROCm knows it by, whatever else is there.
    unique: Option<String>,
    /// Where its driver tells how busy it is.
    status: Option<PathBuf>,
    /// On the PCI bus, where its driver tells.
    address: Option<String>,
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Accelerators {
    devices: Vec<Device>,
    /// Devices that all of a vendor's cards share, where they are there.
    controls: Vec<(Vendor, String)>,
    /// Render devices of cards that are given out.
    render: Vec<String>,
}

impl Accelerators {
    /// Looks below a root, which is `/` of the machine or a test's stand-in.
    pub(crate) fn discover(root: &Path) -> Self {
        let mut devices = nvidia::discover(root);
        devices.extend(amd::discover(root));
        let shared = nvidia::CONTROLS.map(|path| (Vendor::Nvidia, path));
        let shared = shared.into_iter().chain(amd::CONTROLS.map(|path| (Vendor::Amd, path)));
        let controls = shared
            .filter(|(_, path)| below(root, path).exists())
            .map(|(vendor, path)| (vendor, path.to_owned()))
            .collect();
        Self { devices, controls, render: nvidia::render_devices(root) }
    }

    /// The cards, in the order in which they are given out.
    pub(crate) fn gpus(&self) -> Vec<Gpu> {
        self.devices.iter().map(|device| device.gpu.clone()).collect()
    }

    /// The cards of these names; the first that is not there.
    fn chosen(&self, names: &[String]) -> Result<Vec<&Device>, String> {
        let find = |name: &String| {
            self.devices.iter().find(|device| device.gpu.name == *name).ok_or_else(|| name.clone())
        };
        names.iter().map(find).collect()
    }

    /// The devices that a job needs for these cards, in order.
    ///
    /// # Errors
    /// The name of one that is not there any more.
    pub(crate) fn nodes(&self, names: &[String]) -> Result<Vec<String>, String> {
        let chosen = self.chosen(names)?;
        let mut nodes: Vec<_> = chosen.iter().flat_map(|device| device.nodes.clone()).collect();
        let needed = |vendor: &Vendor| chosen.iter().any(|device| device.vendor == *vendor);
        let shared = self.controls.iter().filter(|(vendor, _)| needed(vendor));
        nodes.extend(shared.map(|(_, path)| path.clone()));
        nodes.sort();
        Ok(nodes)
    }

    /// Whether a device is given out with the cards that it belongs to, and so is no
    /// job's because of its profile alone. All that NVIDIA's and AMD's drivers make
    /// is, also where no card was found.
    pub(crate) fn governs(&self, path: &str) -> bool {
        nvidia::governs(path)
            || amd::CONTROLS.contains(&path)
            || self.render.iter().any(|node| node == path)
            || self.devices.iter().any(|device| device.nodes.iter().any(|node| node == path))
    }

    /// Where on the PCI bus the NVIDIA cards are whose devices are among these.
    pub(crate) fn addresses(&self, nodes: &[String]) -> Vec<String> {
        let seen = |device: &&Device| device.nodes.iter().any(|node| nodes.contains(node));
        self.devices.iter().filter(seen).filter_map(|device| device.address.clone()).collect()
    }

    /// Variables by which libraries learn which cards are the job's. It sees no
    /// others, so the first of its own is number 0, whichever that is on the machine.
    pub(crate) fn variables(&self, names: &[String]) -> BTreeMap<&'static str, String> {
        let Ok(chosen) = self.chosen(names) else { return BTreeMap::new() };
        let of = |vendor| chosen.iter().filter(move |device| device.vendor == vendor);
        let numbers = |vendor| {
            let count = of(vendor).count();
            (count > 0).then(|| (0..count).map(|n| n.to_string()).collect::<Vec<_>>().join(","))
        };
        // The runtime of ROCm reads the kernel's list of all cards; a name that is
        // unique is right whatever it makes of those that the job cannot open.
        let unique: Option<Vec<_>> = of(Vendor::Amd).map(|d| d.unique.clone()).collect();
        let rocr = unique.filter(|names| !names.is_empty()).map(|names| names.join(","));
        [
            ("CUDA_VISIBLE_DEVICES", numbers(Vendor::Nvidia)),
            ("NVIDIA_VISIBLE_DEVICES", numbers(Vendor::Nvidia)),
            ("ROCR_VISIBLE_DEVICES", rocr.or_else(|| numbers(Vendor::Amd))),
            ("HIP_VISIBLE_DEVICES", numbers(Vendor::Amd)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
    }

    /// The cards in words: `nvidia0 (NVIDIA H100 80GB HBM3)`.
    pub(crate) fn describe(&self, names: &[String]) -> String {
        let of = |name: &String| {
            self.devices
                .iter()
                .find(|device| device.gpu.name == *name)
                .map_or_else(|| name.clone(), |device| format!("{name} ({})", device.gpu.kind))
        };
        names.iter().map(of).collect::<Vec<_>>().join(", ")
    }

    /// What the drivers say of these cards now. Nothing is said of one whose driver
    /// tells only its vendor's library, as NVIDIA's does.
    pub(crate) fn usage(&self, names: &[String]) -> Vec<GpuUse> {
        let devices = self.devices.iter().filter(|device| names.contains(&device.gpu.name));
        devices
            .filter_map(|device| {
                let status = device.status.as_ref()?;
                Some(GpuUse {
                    name: device.gpu.name.clone(),
                    busy_percent: number(&status.join("gpu_busy_percent")),
                    memory_bytes: number(&status.join("mem_info_vram_used")),
                })
            })
            .collect()
    }
}

/// An absolute path of the machine, below the root that stands for it.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn number<T: std::str::FromStr>(file: &Path) -> Option<T> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The file names in a directory, in order; none where there is no directory.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

/// Text that a driver shows, fit for a line: a name of a card is its maker's, and
/// goes into reports and terminals.
fn plain(text: &str) -> String {
    const MOST_CHARS: usize = 80;
    text.trim().chars().filter(|c| !c.is_control()).take(MOST_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these files.
    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory can be made");
        for (path, text) in files {
            let file = below(root.path(), path);
            fs::create_dir_all(file.parent().expect("it has one")).expect("mkdir");
            fs::write(file, text).expect("write");
        }
        root
    }

    const H100: &str = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 126\nGPU UUID: \t \
        GPU-11111111-2222-3333-4444-555555555555\nVideo BIOS: \t 96.00.74.00.01\nBus Type: \t PCIe\n\
        Bus Location: \t 0000:18:00.0\nDevice Minor: \t 1\nGPU Excluded:\t No\n";
    const A100: &str =
        "Model: \t\t NVIDIA A100-SXM4-40GB\nGPU UUID: \t GPU-aaaa\nDevice Minor: \t 0\n";

    fn nvidia() -> tempfile::TempDir {
        machine(&[
            ("/proc/driver/nvidia/gpus/0000:18:00.0/information", H100),
            ("/proc/driver/nvidia/gpus/0000:86:00.0/information", A100),
            ("/dev/nvidia0", ""),
            ("/dev/nvidia1", ""),
            ("/dev/nvidiactl", ""),
            ("/dev/nvidia-uvm", ""),
            ("/dev/nvidia-modeset", ""),
            ("/dev/dri/renderD128", ""),
            ("/sys/bus/pci/devices/0000:18:00.0/drm/renderD128/uevent", ""),
        ])
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn nvidia_cards_are_found_with_model_and_devices() {
        let root = nvidia();
        let found = Accelerators::discover(root.path());
        let gpu = |name: &str, kind: &str| Gpu { name: name.into(), kind: kind.into() };
        assert_eq!(
            found.gpus(),
            [gpu("nvidia0", "NVIDIA A100-SXM4-40GB"), gpu("nvidia1", "NVIDIA H100 80GB HBM3")]
        );
        assert_eq!(
            found.nodes(&names(&["nvidia1"])).expect("it is there"),
            ["/dev/dri/renderD128", "/dev/nvidia-uvm", "/dev/nvidia1", "/dev/nvidiactl"],
            "its own and what all share, and not what steers displays"
        );
        assert_eq!(found.nodes(&names(&["nvidia7"])), Err("nvidia7".to_owned()));
        assert_eq!(found.addresses(&names(&["/dev/nvidia1", "/dev/nvidiactl"])), ["0000:18:00.0"]);
        assert_eq!(found.nodes(&[]).expect("nothing is asked"), [""; 0]);
        assert!(found.usage(&names(&["nvidia0"])).is_empty(), "its driver tells a library alone");
    }

    #[test]
    fn a_card_without_a_description_is_a_card() {
        let root = machine(&[
            ("/dev/nvidia3", ""),
            ("/dev/nvidiactl", ""),
            ("/dev/dri/renderD128", ""),
            ("/sys/class/drm/renderD128/device/vendor", "0x10de\n"),
        ]);
        let found = Accelerators::discover(root.path());
        assert_eq!(found.gpus(), [Gpu { name: "nvidia3".into(), kind: "NVIDIA GPU".into() }]);
        assert!(found.governs("/dev/dri/renderD128"), "whosever it is, it is a card's");
    }

    #[test]
    fn a_card_that_has_no_device_or_is_excluded_is_none() {
        let excluded = A100.replace("Minor: \t 0", "Minor: \t 2\nGPU Excluded:\t Yes");
        let root = machine(&[
            ("/proc/driver/nvidia/gpus/0000:18:00.0/information", H100),
            ("/proc/driver/nvidia/gpus/0000:86:00.0/information", &excluded),
            ("/dev/nvidia2", ""),
        ]);
        assert!(Accelerators::discover(root.path()).gpus().is_empty());
    }

    fn amd() -> tempfile::TempDir {
        let node = "/sys/class/kfd/kfd/topology/nodes";
        let properties = |minor: u32, unique: u64| {
            format!(
                "cpu_cores_count 0\nsimd_count 416\nvendor_id 4098\ndrm_render_minor {minor}\nunique_id {unique}\n"
            )
        };
        machine(&[
            (&format!("{node}/0/gpu_id"), "0\n"),
            (&format!("{node}/0/properties"), "cpu_cores_count 64\ndrm_render_minor 0\n"),
            (&format!("{node}/1/gpu_id"), "51124\n"),
            (&format!("{node}/1/name"), "aldebaran\n"),
            (&format!("{node}/1/properties"), &properties(129, 0x1234_5678_9abc_def0)),
            (&format!("{node}/2/gpu_id"), "51125\n"),
            (&format!("{node}/2/name"), "aldebaran\n"),
            (&format!("{node}/2/properties"), &properties(130, 0x2234_5678_9abc_def0)),
            ("/sys/class/drm/renderD129/device/product_name", "Instinct MI250X\n"),
            ("/sys/class/drm/renderD129/device/gpu_busy_percent", "73\n"),
            ("/sys/class/drm/renderD129/device/mem_info_vram_used", "1048576\n"),
            ("/dev/kfd", ""),
            ("/dev/dri/renderD128", ""),
            ("/dev/dri/renderD129", ""),
            ("/dev/dri/renderD130", ""),
        ])
    }

    #[test]
    fn amd_cards_are_found_with_model_devices_and_use() {
        let root = amd();
        let found = Accelerators::discover(root.path());
        let gpu = |name: &str, kind: &str| Gpu { name: name.into(), kind: kind.into() };
        assert_eq!(
            found.gpus(),
            [gpu("amd1", "AMD Instinct MI250X"), gpu("amd2", "AMD aldebaran")]
        );
        let nodes = found.nodes(&names(&["amd2"])).expect("it is there");
        assert_eq!(nodes, ["/dev/dri/renderD130", "/dev/kfd"]);
        assert_eq!(
            found.usage(&names(&["amd1"])),
            [GpuUse { name: "amd1".into(), busy_percent: Some(73), memory_bytes: Some(1 << 20) }]
        );
        assert!(found.governs("/dev/kfd") && found.governs("/dev/dri/renderD129"));
        assert!(!found.governs("/dev/dri/renderD128"), "another maker's, which nobody gives out");
    }

    #[test]
    fn libraries_are_told_numbers_that_are_right_in_the_job() {
        let root = nvidia();
        let found = Accelerators::discover(root.path());
        let second = found.variables(&names(&["nvidia1"]));
        assert_eq!(second["CUDA_VISIBLE_DEVICES"], "0", "the only one that it sees");
        let both = found.variables(&names(&["nvidia0", "nvidia1"]));
        assert_eq!(both["CUDA_VISIBLE_DEVICES"], "0,1");
        assert!(!both.contains_key("ROCR_VISIBLE_DEVICES"));
        let root = amd();
        let found = Accelerators::discover(root.path());
        let second = found.variables(&names(&["amd2"]));
        assert_eq!(second["ROCR_VISIBLE_DEVICES"], "GPU-223456789abcdef0");
        assert_eq!(second["HIP_VISIBLE_DEVICES"], "0");
        assert!(found.variables(&[]).is_empty());
    }
}
