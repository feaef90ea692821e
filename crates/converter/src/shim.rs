//! Client-run tools that one vendor trained its models for, expressed as ordinary functions for the others (conversion.md 8.6).
//!
//! A shim has the vendor's own name and a fixed JSON schema, so its calls are the vendor's own input: Messages clients get back a
//! `tool_use` with that input. Responses has item types of their own for such calls ([`CallItem`]): the function's arguments are
//! the item's `action` or `operation`.

use crate::json::{Kind, Raw, Reader, Writer};

/// A call item of Responses that belongs to a vendor-trained tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallItem {
    /// `local_shell_call`.
    LocalShell,
    /// `shell_call`.
    Shell,
    /// `apply_patch_call`.
    ApplyPatch,
    /// `computer_call`.
    Computer,
}

impl CallItem {
    const ALL: [CallItem; 4] = [
        CallItem::LocalShell,
        CallItem::Shell,
        CallItem::ApplyPatch,
        CallItem::Computer,
    ];

    /// The tool's name: its type in `tools`, and the name of its shim.
    #[must_use]
    pub fn tool(self) -> &'static str {
        match self {
            CallItem::LocalShell => "local_shell",
            CallItem::Shell => "shell",
            CallItem::ApplyPatch => "apply_patch",
            CallItem::Computer => "computer",
        }
    }

    /// The call item's `type`.
    #[must_use]
    pub fn call_type(self) -> &'static str {
        match self {
            CallItem::LocalShell => "local_shell_call",
            CallItem::Shell => "shell_call",
            CallItem::ApplyPatch => "apply_patch_call",
            CallItem::Computer => "computer_call",
        }
    }

    /// The output item's `type`.
    #[must_use]
    pub fn output_type(self) -> &'static str {
        match self {
            CallItem::LocalShell => "local_shell_call_output",
            CallItem::Shell => "shell_call_output",
            CallItem::ApplyPatch => "apply_patch_call_output",
            CallItem::Computer => "computer_call_output",
        }
    }

    /// The member of the call item that holds the arguments.
    #[must_use]
    pub fn member(self) -> &'static str {
        match self {
            CallItem::ApplyPatch => "operation",
            _ => "action",
        }
    }

    /// The item kind of a call item's `type`.
    #[must_use]
    pub fn of_call(kind: &str) -> Option<CallItem> {
        CallItem::ALL.into_iter().find(|item| item.call_type() == kind)
    }

    /// The item kind of an output item's `type`.
    #[must_use]
    pub fn of_output(kind: &str) -> Option<CallItem> {
        CallItem::ALL.into_iter().find(|item| item.output_type() == kind)
    }

    /// The item kind of a tool's `type`.
    #[must_use]
    pub fn of_tool(kind: &str) -> Option<CallItem> {
        match kind {
            "computer_use_preview" => Some(CallItem::Computer),
            kind => CallItem::ALL.into_iter().find(|item| item.tool() == kind),
        }
    }

    /// Writes the members of a call item (behind `id` and whatever the caller put first): `type`, `call_id`, `action` or
    /// `operation`, and what the type demands besides. `arguments` is the JSON object that the model gave the shim.
    pub fn write(self, w: &mut Writer<'_>, call_id: &str, arguments: Raw<'_>, status: &str) {
        w.key("type").str(self.call_type());
        w.key("call_id").str(call_id);
        w.key(self.member());
        if self == CallItem::LocalShell {
            exec(w, arguments);
        } else {
            w.raw(arguments);
        }
        if self == CallItem::Computer {
            w.key("pending_safety_checks").raw(Raw::of_const("[]"));
        }
        w.key("status").str(status);
    }
}

/// The action of a local shell call has a type and an environment that the shim's schema leaves out or makes optional.
fn exec(w: &mut Writer<'_>, arguments: Raw<'_>) {
    let mut reader = Reader::new(arguments.get());
    if reader.kind() != Kind::Object {
        return w.raw(arguments);
    }
    w.begin_object();
    w.key("type").str("exec");
    let mut environment = false;
    // The arguments were checked to be an object by whoever calls.
    let _ = reader.object(|reader, key| {
        let value = reader.raw()?;
        environment |= key == "env";
        if key != "type" {
            w.key(key).raw(value);
        }
        Ok(())
    });
    if !environment {
        w.key("env").raw(Raw::of_const("{}"));
    }
    w.end_object();
}

/// One shim: whose tool types it stands for, and what the function says.
pub(crate) struct Shim {
    /// Start of the tool's `type`.
    prefix: &'static str,
    /// What the function's description says.
    pub(crate) description: &'static str,
    /// The function's schema.
    pub(crate) schema: &'static str,
}

/// Version 1 of the schemas. Sources: the item types of the Python `openai` SDK 3.54.0; Anthropic's tool pages for bash, text
/// editor, memory and computer use.
const SHIMS: &[Shim] = &[
    Shim {
        prefix: "local_shell",
        description: "Runs a program on the user's machine and returns its output.",
        schema: r#"{"type":"object","properties":{"command":{"type":"array","items":{"type":"string"},"description":"the program and its arguments"},"working_directory":{"type":"string"},"timeout_ms":{"type":"integer"},"user":{"type":"string"},"env":{"type":"object","additionalProperties":{"type":"string"}}},"required":["command"]}"#,
    },
    Shim {
        prefix: "shell",
        description: "Runs shell commands on the user's machine and returns their output.",
        schema: r#"{"type":"object","properties":{"commands":{"type":"array","items":{"type":"string"}},"timeout_ms":{"type":"integer"},"max_output_length":{"type":"integer"}},"required":["commands"]}"#,
    },
    Shim {
        prefix: "apply_patch",
        description: "Creates, changes or deletes one file. `diff` is a V4A diff: the whole content for a new file, hunks for a change.",
        schema: r#"{"type":"object","properties":{"type":{"type":"string","enum":["create_file","update_file","delete_file"]},"path":{"type":"string"},"diff":{"type":"string"}},"required":["type","path"]}"#,
    },
    Shim {
        prefix: "computer_use_preview",
        description: COMPUTER,
        schema: COMPUTER_CALL,
    },
    Shim {
        prefix: "bash_",
        description: "Runs a command in a persistent bash session and returns its output.",
        schema: r#"{"type":"object","properties":{"command":{"type":"string","description":"the command to run; needed unless the session is restarted"},"restart":{"type":"boolean","description":"restart the session"}}}"#,
    },
    Shim {
        prefix: "text_editor_",
        description: "Views and edits text files.",
        schema: r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert"]},"path":{"type":"string"},"file_text":{"type":"string","description":"content for `create`"},"old_str":{"type":"string","description":"text to replace, for `str_replace`"},"new_str":{"type":"string","description":"new text, for `str_replace`"},"insert_line":{"type":"integer","description":"line behind which `insert` puts its text"},"insert_text":{"type":"string","description":"text for `insert`"},"view_range":{"type":"array","items":{"type":"integer"},"description":"first and last line for `view`"}},"required":["command","path"]}"#,
    },
    Shim {
        prefix: "memory_",
        description: "Reads and writes the files of the memory directory `/memories`.",
        schema: r#"{"type":"object","properties":{"command":{"type":"string","enum":["view","create","str_replace","insert","delete","rename"]},"path":{"type":"string"},"file_text":{"type":"string"},"old_str":{"type":"string"},"new_str":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"view_range":{"type":"array","items":{"type":"integer"}},"old_path":{"type":"string"},"new_path":{"type":"string"}},"required":["command"]}"#,
    },
    Shim {
        prefix: "computer_20",
        description: COMPUTER,
        schema: r#"{"type":"object","properties":{"action":{"type":"string","enum":["screenshot","cursor_position","mouse_move","left_click","right_click","middle_click","double_click","triple_click","left_click_drag","left_mouse_down","left_mouse_up","key","hold_key","type","scroll","wait","zoom"]},"coordinate":{"type":"array","items":{"type":"integer"}},"start_coordinate":{"type":"array","items":{"type":"integer"}},"text":{"type":"string"},"scroll_direction":{"type":"string","enum":["up","down","left","right"]},"scroll_amount":{"type":"integer"},"duration":{"type":"number"},"region":{"type":"array","items":{"type":"integer"}}},"required":["action"]}"#,
    },
    Shim {
        prefix: "computer",
        description: COMPUTER,
        schema: COMPUTER_CALL,
    },
];

const COMPUTER: &str = "Controls the computer's mouse and keyboard and takes screenshots.";
const COMPUTER_CALL: &str = r#"{"type":"object","properties":{"type":{"type":"string","enum":["click","double_click","drag","keypress","move","screenshot","scroll","type","wait"]},"x":{"type":"integer"},"y":{"type":"integer"},"button":{"type":"string","enum":["left","right","wheel","back","forward"]},"keys":{"type":"array","items":{"type":"string"}},"path":{"type":"array","items":{"type":"object","properties":{"x":{"type":"integer"},"y":{"type":"integer"}},"required":["x","y"]}},"scroll_x":{"type":"integer"},"scroll_y":{"type":"integer"},"text":{"type":"string"}},"required":["type"]}"#;

/// The shim of a client-run tool's `type`; `None` for tools that the vendor runs and for toolsets.
pub(crate) fn of(kind: &str) -> Option<&'static Shim> {
    if kind.contains("toolset") {
        return None;
    }
    SHIMS.iter().find(|shim| kind.starts_with(shim.prefix))
}

const POINT: &str = r#"{"type":"object","properties":{"coordinate":{"type":"array","items":{"type":"integer"}},"text":{"type":"string","description":"keys held meanwhile"}}}"#;
const TEXT: &str = r#"{"type":"object","properties":{"text":{"type":"string"},"duration":{"type":"number"}},"required":["text"]}"#;

/// Members of `computer_toolset_20260801`: name and schema. `None`: no parameters.
pub(crate) const COMPUTER_TOOLSET: &[(&str, Option<&str>)] = &[
    ("screenshot", None),
    ("cursor_position", None),
    ("mouse_move", Some(POINT)),
    ("left_click", Some(POINT)),
    ("right_click", Some(POINT)),
    ("middle_click", Some(POINT)),
    ("double_click", Some(POINT)),
    ("triple_click", Some(POINT)),
    ("left_mouse_down", None),
    ("left_mouse_up", None),
    (
        "left_click_drag",
        Some(
            r#"{"type":"object","properties":{"start_coordinate":{"type":"array","items":{"type":"integer"}},"coordinate":{"type":"array","items":{"type":"integer"}}},"required":["start_coordinate","coordinate"]}"#,
        ),
    ),
    ("key", Some(TEXT)),
    ("hold_key", Some(TEXT)),
    ("type", Some(TEXT)),
    (
        "scroll",
        Some(
            r#"{"type":"object","properties":{"coordinate":{"type":"array","items":{"type":"integer"}},"scroll_direction":{"type":"string","enum":["up","down","left","right"]},"scroll_amount":{"type":"integer"}},"required":["scroll_direction","scroll_amount"]}"#,
        ),
    ),
    (
        "wait",
        Some(
            r#"{"type":"object","properties":{"duration":{"type":"number","description":"seconds"}},"required":["duration"]}"#,
        ),
    ),
    (
        "zoom",
        Some(
            r#"{"type":"object","properties":{"region":{"type":"array","items":{"type":"integer"}}},"required":["region"]}"#,
        ),
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_run_tool_type_has_its_shim() {
        for (kind, needle) in [
            ("bash_20250124", "restart"),
            ("text_editor_20250728", "view_range"),
            ("memory_20250818", "rename"),
            ("computer_20251124", "left_click_drag"),
            ("local_shell", "working_directory"),
            ("shell", "commands"),
            ("apply_patch", "update_file"),
            ("computer", "keypress"),
            ("computer_use_preview", "keypress"),
        ] {
            let shim = of(kind).unwrap();
            assert!(shim.schema.contains(needle), "{kind}");
            assert!(crate::json::from_str::<Raw<'_>>(shim.schema).is_ok(), "{kind}");
        }
        for kind in [
            "web_search",
            "computer_toolset_20260801",
            "foo",
            "code_execution_20260521",
        ] {
            assert!(of(kind).is_none(), "{kind}");
        }
    }

    #[test]
    fn local_shell_calls_get_what_their_type_demands() {
        let mut out = Vec::new();
        let mut w = Writer::new(&mut out);
        w.begin_object();
        CallItem::LocalShell.write(&mut w, "c1", Raw::of_const(r#"{"command":["ls"]}"#), "completed");
        w.end_object();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"type":"local_shell_call","call_id":"c1","action":{"type":"exec","command":["ls"],"env":{}},"status":"completed"}"#
        );
    }
}
