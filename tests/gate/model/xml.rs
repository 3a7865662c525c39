//! kern.geom.confxml: the kernel's format (geom_dump.c, g_gate_dumpconf), of gate devices and who has them open.

use std::fmt::Write;

use super::{Softc, State};

/// What GEOM says.
pub fn describe(state: &State) -> String {
    let mut text = String::from("<mesh>\n  <class id=\"0xf1\">\n    <name>GATE</name>\n");
    let devices = || {
        let devices = state.devices.iter().enumerate();
        devices.filter_map(|(unit, softc)| Some((unit, softc.as_ref()?)))
    };
    for (unit, softc) in devices() {
        gate(&mut text, unit, softc).unwrap();
    }
    text.push_str("  </class>\n");
    for (unit, softc) in devices() {
        // Every provider has a device file, open or not.
        user(&mut text, unit, "DEV", &softc.name, "r0w0e0").unwrap();
        for open in &softc.opens {
            user(&mut text, unit, &open.class, &open.geom, "r1w1e1").unwrap();
        }
    }
    text.push_str("</mesh>\n");
    text
}

fn gate(text: &mut String, unit: usize, softc: &Softc) -> std::fmt::Result {
    let name = &softc.name;
    writeln!(text, "    <geom id=\"0xa{unit}\">")?;
    writeln!(
        text,
        "      <class ref=\"0xf1\"/>\n      <name>{name}</name>\n      <rank>1</rank>"
    )?;
    if softc.being_destroyed {
        writeln!(text, "      <wither/>")?;
    } else {
        writeln!(text, "      <config>\n\t<access>read-write</access>")?;
        if let Some(consumer) = softc.reader.and_then(|id| softc.consumers.get(&id)) {
            writeln!(text, "\t<read_offset>{}</read_offset>", softc.read_offset)?;
            writeln!(text, "\t<read_provider>{}</read_provider>", consumer.disk)?;
        }
        writeln!(
            text,
            "\t<timeout>{}</timeout>\n\t<info>{}</info>",
            softc.timeout, softc.info
        )?;
        let count = softc.incoming.len() + softc.outgoing.len();
        writeln!(text, "\t<queue_count>{count}</queue_count>")?;
        writeln!(text, "\t<queue_size>{}</queue_size>", softc.max_count)?;
        // Describing it holds it, too.
        writeln!(
            text,
            "\t<ref>{}</ref>\n\t<unit>{unit}</unit>",
            softc.holds + 1
        )?;
        writeln!(text, "      </config>")?;
    }
    for id in softc.consumers.keys() {
        writeln!(
            text,
            "\t<consumer id=\"0xc{id}\">\n\t  <geom ref=\"0xa{unit}\"/>"
        )?;
        writeln!(
            text,
            "\t  <provider ref=\"0xd\"/>\n\t  <mode>r1w0e0</mode>\n\t</consumer>"
        )?;
    }
    let opens = softc.opens.len();
    writeln!(
        text,
        "\t<provider id=\"0xb{unit}\">\n\t  <geom ref=\"0xa{unit}\"/>"
    )?;
    writeln!(
        text,
        "\t  <mode>r{opens}w{opens}e{opens}</mode>\n\t  <name>{name}</name>"
    )?;
    writeln!(text, "\t  <mediasize>{}</mediasize>", softc.size)?;
    writeln!(text, "\t  <sectorsize>{}</sectorsize>", softc.sector_size)?;
    writeln!(
        text,
        "\t  <stripesize>0</stripesize>\n\t  <stripeoffset>0</stripeoffset>"
    )?;
    writeln!(
        text,
        "\t  <config>\n\t  </config>\n\t</provider>\n    </geom>"
    )
}

fn user(text: &mut String, unit: usize, class: &str, geom: &str, mode: &str) -> std::fmt::Result {
    writeln!(text, "  <class id=\"0xf2\">\n    <name>{class}</name>")?;
    writeln!(
        text,
        "    <geom id=\"0xe1\">\n      <class ref=\"0xf2\"/>\n      <name>{geom}</name>"
    )?;
    writeln!(
        text,
        "      <rank>2</rank>\n\t<consumer id=\"0xe2\">\n\t  <geom ref=\"0xe1\"/>"
    )?;
    writeln!(
        text,
        "\t  <provider ref=\"0xb{unit}\"/>\n\t  <mode>{mode}</mode>\n\t</consumer>"
    )?;
    writeln!(text, "    </geom>\n  </class>")
}
