//! What phones don't do, a line each, by reason.

use super::{Method, Verdict, closed};

const ACCOUNT: &str = "login, accounts and billing are the desk's";
const TOOLS: &str = "MCP servers and apps are set up and called at the desk";
const SHELL: &str = "it runs a command without the agent, and without its sandbox";
const CONFIG: &str = "Codex's configuration is the desk's";
const SETUP: &str = "environments and the system are set up at the desk";
const UPKEEP: &str = "memory, diagnostics and upkeep are the desk's";
const WRITES: &str = "it edits files without the agent";
const FILES: &str = "it looks at any path of the host";
const PLUGINS: &str = "plugins, marketplaces and skills are set up at the desk";
const REMOTE: &str = "Codex's own remote control must not be paired through this one";
const FORGES: &str = "it writes history that nobody said or did";

const NAMES: &str = "it lists names of files on the host";
const ORDER: &str = "projects, sections and attachments are put in order at the desk";
const OVERRIDE: &str = "it overrides a safety reviewer's no";
const UNDOES: &str = "it can't be undone, or it rewrites history";
const GOALS: &str = "a goal has the agent go on by itself";
const EXTRA: &str = "it has the model work without a turn that shows it";
const VOICE: &str = "voice is not part of this";

const fn deny(name: &'static str, reason: &'static str) -> Method {
    closed(name, Verdict::Deny, reason)
}

const fn later(name: &'static str, reason: &'static str) -> Method {
    closed(name, Verdict::Later, reason)
}

pub(super) const METHODS: &[Method] = &[
    deny("thread/unsubscribe", "what a phone follows is the host's book-keeping; it keeps the subscriptions"),
    deny("account/bedrock/checkGovCloudRequirements", ACCOUNT),
    deny("account/bedrock/discover", ACCOUNT),
    deny("account/bedrock/setup", ACCOUNT),
    deny("account/gatewayOAuth/cancel", ACCOUNT),
    deny("account/gatewayOAuth/login", ACCOUNT),
    deny("account/gatewayOAuth/read", ACCOUNT),
    deny("account/gcp/setup", ACCOUNT),
    deny("account/login/cancel", ACCOUNT),
    deny("account/login/start", ACCOUNT),
    deny("account/logout", ACCOUNT),
    deny("account/rateLimitResetCredit/consume", ACCOUNT),
    deny("account/securitySetup/read", ACCOUNT),
    deny("account/sendAddCreditsNudgeEmail", ACCOUNT),
    deny("account/workspaceMessages/read", ACCOUNT),
    deny("accountSession/list", ACCOUNT),
    deny("accountSession/switch", ACCOUNT),
    deny("app/installed", TOOLS),
    deny("app/list", TOOLS),
    deny("app/read", TOOLS),
    deny("config/mcpServer/reload", TOOLS),
    deny("mcpServer/event/stream/start", TOOLS),
    deny("mcpServer/event/stream/stop", TOOLS),
    deny("mcpServer/oauth/login", TOOLS),
    deny("mcpServer/resource/read", TOOLS),
    deny("mcpServer/tool/call", TOOLS),
    deny("mcpServerStatus/list", TOOLS),
    deny("command/exec", SHELL),
    deny("command/exec/resize", SHELL),
    deny("command/exec/terminate", SHELL),
    deny("command/exec/write", SHELL),
    deny("process/kill", SHELL),
    deny("process/resizePty", SHELL),
    deny("process/spawn", SHELL),
    deny("process/writeStdin", SHELL),
    deny("thread/shellCommand", SHELL),
    deny("config/batchWrite", CONFIG),
    deny("config/read", CONFIG),
    deny("config/value/write", CONFIG),
    deny("experimentalFeature/enablement/set", CONFIG),
    deny("experimentalFeature/list", CONFIG),
    deny("externalAgentConfig/detect", CONFIG),
    deny("externalAgentConfig/import", CONFIG),
    deny("externalAgentConfig/import/readHistories", CONFIG),
    deny("externalAgentConfig/import/recordHistory", CONFIG),
    deny("hooks/list", CONFIG),
    deny("modelProvider/config/write", CONFIG),
    deny("modelProvider/list", CONFIG),
    deny("environment/add", SETUP),
    deny("environment/info", SETUP),
    deny("environment/status", SETUP),
    deny("windowsSandbox/readiness", SETUP),
    deny("windowsSandbox/setupStart", SETUP),
    deny("feedback/save", UPKEEP),
    deny("feedback/upload", UPKEEP),
    deny("memory/reset", UPKEEP),
    deny("memory/status", UPKEEP),
    deny("mock/experimentalMethod", UPKEEP),
    deny("rollout/compress", UPKEEP),
    deny("server/diagnostics", UPKEEP),
    deny("thread/decrement_elicitation", UPKEEP),
    deny("thread/increment_elicitation", UPKEEP),
    deny("thread/memory/read", UPKEEP),
    deny("thread/memoryMode/set", UPKEEP),
    deny("fs/copy", WRITES),
    deny("fs/createDirectory", WRITES),
    deny("fs/remove", WRITES),
    deny("fs/writeFile", WRITES),
    deny("fs/getMetadata", FILES),
    deny("fs/readDirectory", FILES),
    deny("fs/unwatch", FILES),
    deny("fs/watch", FILES),
    deny("marketplace/add", PLUGINS),
    deny("marketplace/remove", PLUGINS),
    deny("marketplace/upgrade", PLUGINS),
    deny("plugin/install", PLUGINS),
    deny("plugin/installed", PLUGINS),
    deny("plugin/list", PLUGINS),
    deny("plugin/read", PLUGINS),
    deny("plugin/reconcile", PLUGINS),
    deny("plugin/search", PLUGINS),
    deny("plugin/share/checkout", PLUGINS),
    deny("plugin/share/delete", PLUGINS),
    deny("plugin/share/list", PLUGINS),
    deny("plugin/share/save", PLUGINS),
    deny("plugin/share/updateTargets", PLUGINS),
    deny("plugin/skill/read", PLUGINS),
    deny("plugin/uninstall", PLUGINS),
    deny("skills/config/write", PLUGINS),
    deny("skills/extraRoots/set", PLUGINS),
    deny("remoteControl/client/list", REMOTE),
    deny("remoteControl/client/revoke", REMOTE),
    deny("remoteControl/disable", REMOTE),
    deny("remoteControl/enable", REMOTE),
    deny("remoteControl/pairing/start", REMOTE),
    deny("remoteControl/pairing/status", REMOTE),
    deny("remoteControl/status/read", REMOTE),
    deny("userVerification/cancel", REMOTE),
    deny("userVerification/delete", REMOTE),
    deny("userVerification/enroll", REMOTE),
    deny("userVerification/status", REMOTE),
    deny("userVerification/verify", REMOTE),
    deny("thread/inject_items", FORGES),
    later("fuzzyFileSearch", NAMES),
    later("fuzzyFileSearch/sessionStart", NAMES),
    later("fuzzyFileSearch/sessionStop", NAMES),
    later("fuzzyFileSearch/sessionUpdate", NAMES),
    later("project/create", ORDER),
    later("project/delete", ORDER),
    later("project/import", ORDER),
    later("project/move", ORDER),
    later("project/update", ORDER),
    later("thread/attachment/add", ORDER),
    later("thread/attachment/remove", ORDER),
    later("thread/metadata/update", ORDER),
    later("threadSection/create", ORDER),
    later("threadSection/delete", ORDER),
    later("threadSection/update", ORDER),
    later("thread/approveGuardianDeniedAction", OVERRIDE),
    later("thread/delete", UNDOES),
    later("thread/revert", UNDOES),
    later("thread/goal/clear", GOALS),
    later("thread/goal/set", GOALS),
    later("thread/guardianReview", EXTRA),
    later("thread/prediction/request", EXTRA),
    later("thread/prepareApprovedPlan", EXTRA),
    later("thread/sample", EXTRA),
    later("thread/sample/cancel", EXTRA),
    later("thread/realtime/appendAudio", VOICE),
    later("thread/realtime/appendSpeech", VOICE),
    later("thread/realtime/appendText", VOICE),
    later("thread/realtime/listVoices", VOICE),
    later("thread/realtime/start", VOICE),
    later("thread/realtime/stop", VOICE),
];
