//! A machine, as QEMU is told of it.

use goni_model::document::source::Sources;
use goni_model::size::ByteCount;
use goni_model::target::QemuFirmware;

use super::*;

fn machine() -> Machine {
    Machine {
        qemu: Qemu {
            machine: "q35".parse().unwrap(),
            cpu: "max".parse().unwrap(),
            processors: 2,
            memory: ByteCount::from_mib(1024),
            firmware: QemuFirmware::Ovmf,
        },
        board: Board {
            program: "qemu-system-x86_64".into(),
            code: "/usr/share/code.fd".into(),
            variables: "/usr/share/vars.fd".into(),
            iommu: Iommu::Device("intel-iommu,intremap=off".into()),
            tpm: "tpm-crb".into(),
        },
        accelerator: Accelerator::Tcg,
        disk: "/machine/a,b.qcow2".into(),
        variables: "/machine/vars.fd".into(),
        console: Console::Socket("/machine/console".into()),
        port: Some("/machine/port".into()),
        strings: vec!["/machine/0".into()],
        monitor: Some("/machine/monitor".into()),
        hardware: Hardware::default(),
    }
}

#[test]
fn a_checked_machine_has_these_arguments() {
    let lines = machine().arguments().join("\n");
    let expected = "-nodefaults
-display\nnone
-machine\nq35
-accel\ntcg,thread=multi
-cpu\nmax
-smp\n2
-m\n1073741824B
-drive\nif=pflash,format=raw,unit=0,readonly=on,file=/usr/share/code.fd
-drive\nif=pflash,format=raw,unit=1,file=/machine/vars.fd
-drive\nif=none,id=disk,format=qcow2,cache=unsafe,file=/machine/a,,b.qcow2
-device\nvirtio-blk-pci,drive=disk,bootindex=0
-device\nvirtio-rng-pci
-chardev\nsocket,id=console,path=/machine/console
-serial\nchardev:console
-chardev\nsocket,id=monitor,path=/machine/monitor
-mon\nchardev=monitor,mode=control
-device\nvirtio-serial-pci
-chardev\nsocket,id=port,path=/machine/port
-device\nvirtserialport,chardev=port,name=org.goni.smoke
-smbios\ntype=11,path=/machine/0
-nic\nnone";
    assert_eq!(lines, expected);
}

#[test]
fn a_machine_at_the_terminal_has_a_network_and_no_port() {
    let console = Console::Terminal;
    let hardware = Hardware { network: Network::Forward(7000), ..Hardware::default() };
    let machine = Machine { console, monitor: None, port: None, strings: Vec::new(), hardware, ..machine() };
    let arguments = machine.arguments();
    let tail: Vec<&str> = arguments.iter().rev().take(4).rev().map(String::as_str).collect();
    assert_eq!(
        tail,
        ["-serial", "mon:stdio", "-nic", "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:7000-:7000"]
    );
    assert!(!arguments.iter().any(|argument| argument.contains(PORT)));
}

#[test]
fn a_recorded_machine_writes_to_its_disk_through_the_log() {
    let recording = Recording { log: "/machine/log".into(), port: "/machine/load".into() };
    let plain = machine().arguments();
    let hardware = Hardware { recording: Some(recording), ..Hardware::default() };
    let arguments = Machine { hardware, ..machine() }.arguments();
    let more: Vec<&str> =
        arguments.iter().filter(|argument| !plain.contains(argument)).map(String::as_str).collect();
    let expected = "-blockdev
driver=file,node-name=overlay-file,cache.no-flush=on,discard=unmap,filename=/machine/a,,b.qcow2
-blockdev
driver=qcow2,node-name=overlay,cache.no-flush=on,discard=unmap,file=overlay-file
-blockdev
driver=file,node-name=log,cache.no-flush=on,filename=/machine/log
-blockdev
driver=blklogwrites,node-name=disk,discard=unmap,file=overlay,log=log,log-sector-size=512,log-super-update-interval=1
socket,id=load,path=/machine/load
virtserialport,chardev=load,name=org.goni.load";
    assert_eq!(more.join("\n"), expected);
    assert!(!arguments.iter().any(|argument| argument.contains("cache=unsafe")), "{arguments:?}");
}

#[test]
fn what_a_boot_adds_has_these_arguments() {
    let capture = "/machine/capture.pcap".into();
    let hardware = Hardware {
        network: Network::Restricted { capture },
        iommu: true,
        sectors: SectorSize::B4096,
        second_disk: Some("/machine/second.raw".into()),
        tpm: Some(Tpm { which: WhichTpm::Own, socket: "/machine/tpm/socket".into() }),
        recording: None,
    };
    let plain = machine().arguments();
    let added: Vec<String> = Machine { hardware, ..machine() }
        .arguments()
        .into_iter()
        .filter(|argument| argument.starts_with(|c: char| c != '-') && !plain.contains(argument))
        .collect();
    let expected = "intel-iommu,intremap=off
virtio-blk-pci,drive=disk,bootindex=0,logical_block_size=4096,physical_block_size=4096
if=none,id=second,format=raw,cache=unsafe,file=/machine/second.raw
virtio-blk-pci,drive=second,logical_block_size=4096,physical_block_size=4096
socket,id=tpm-socket,path=/machine/tpm/socket
emulator,id=tpm,chardev=tpm-socket
tpm-crb,tpmdev=tpm
user,id=network,restrict=on
filter-dump,id=capture,netdev=network,file=/machine/capture.pcap
virtio-net-pci,netdev=network,romfile=";
    assert_eq!(added.join("\n"), expected);
}

#[test]
fn an_iommu_that_the_machine_is_asked_for_is_no_device() {
    let board = Board {
        iommu: Iommu::Machine("iommu=smmuv3".into()),
        tpm: "tpm-tis-device".into(),
        ..machine().board
    };
    let tpm = Some(Tpm { which: WhichTpm::Own, socket: "/machine/tpm/socket".into() });
    let hardware = Hardware { iommu: true, tpm, ..Hardware::default() };
    let arguments = Machine { board, hardware, ..machine() }.arguments();
    let has = |argument: &str| arguments.iter().any(|given| given == argument);
    assert!(has("q35,iommu=smmuv3") && has("tpm-tis-device,tpmdev=tpm"), "{arguments:?}");
    assert!(!arguments.iter().any(|argument| argument.contains("intel-iommu")), "{arguments:?}");
}

#[test]
fn a_board_with_a_path_out_of_the_toolbox_is_refused() {
    let mut sources = Sources::new();
    let text = "program = 'q'\ncode = '/usr/../etc/x'\nvariables = '/a,b'\niommu-device = 'i'\ntpm = 't t'\n";
    let (file, _) = sources.add("ovmf.toml", text.as_bytes());
    let faults = check(&sources, file).unwrap_err();
    let messages: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "`code` wants an absolute path in the toolbox",
            "`variables` wants an absolute path in the toolbox",
            "`tpm` wants a name and its properties, as in `name,key=value`"
        ]
    );
}
