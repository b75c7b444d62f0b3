//! What belongs to no thread, and what the host answers itself.

use super::super::words::{ALL, ANY, APPROVAL_POLICY, NUMBER, RATE_LIMITS, TEXTS};
use super::super::{Field, Right, Shape};
use super::fields::{ARCHIVED, CURSOR, DIRECTION, ID, LIMIT, OF_THREAD, THREAD_ID, page};
use super::{Method, Subject, Verdict, closed, read};

const MODELS_PAGE: [Field; 3] = page(&Shape::Object(&[
    Field::required("id", ANY),
    Field::optional("model", ANY),
    Field::optional("displayName", ANY),
    Field::optional("description", ANY),
    Field::optional("isDefault", Shape::Bool),
    Field::optional("defaultReasoningEffort", ANY),
    Field::optional(
        "supportedReasoningEfforts",
        Shape::List(
            ALL,
            &Shape::Object(&[Field::required("reasoningEffort", ANY), Field::optional("description", ANY)]),
        ),
    ),
]));

const MODES: [Field; 1] = [Field::required(
    "data",
    Shape::List(
        ALL,
        &Shape::Object(&[
            Field::required("name", ANY),
            Field::optional("mode", ANY),
            Field::optional("model", ANY),
            Field::optional("reasoning_effort", ANY),
        ]),
    ),
)];

/// What kind of account, never whose.
const ACCOUNT: Shape = Shape::Object(&[
    Field::optional("account", Shape::Tagged(&[("chatgpt", &[Field::optional("planType", ANY)])], &[])),
    Field::optional("requiresOpenaiAuth", Shape::Bool),
]);

const USED: Shape = Shape::Object(&[
    Field::required(
        "summary",
        Shape::Object(&[Field::optional("lifetimeTokens", NUMBER), Field::optional("peakDailyTokens", NUMBER)]),
    ),
    Field::optional(
        "dailyUsageBuckets",
        Shape::List(ALL, &Shape::Object(&[Field::required("startDate", ANY), Field::required("tokens", NUMBER)])),
    ),
]);

/// What an administrator allows on this machine, as far as it concerns what phones may do.
const REQUIREMENTS: Shape = Shape::Object(&[Field::optional(
    "requirements",
    Shape::Object(&[
        Field::optional("allowRemoteControl", Shape::Bool),
        Field::optional("allowBrowserAndComputerUse", Shape::Bool),
        Field::optional("allowedApprovalPolicies", Shape::List(ALL, &APPROVAL_POLICY)),
        Field::optional("allowedSandboxModes", TEXTS),
        Field::optional("allowedWebSearchModes", TEXTS),
    ]),
)]);

const PROFILES: [Field; 3] = page(&Shape::Object(&[
    Field::required("id", ANY),
    Field::optional("description", ANY),
    Field::optional("allowed", Shape::Bool),
]));

const SKILLS: Shape = Shape::Object(&[Field::required(
    "data",
    Shape::List(
        ALL,
        &Shape::Object(&[
            Field::required("cwd", ANY),
            Field::required(
                "skills",
                Shape::List(
                    ALL,
                    &Shape::Object(&[
                        Field::required("name", ANY),
                        Field::optional("description", ANY),
                        Field::optional("enabled", Shape::Bool),
                        Field::optional("scope", ANY),
                    ]),
                ),
            ),
        ]),
    ),
)]);

const PROJECT: Shape = Shape::Object(&[
    Field::required("id", ANY),
    Field::required("name", ANY),
    Field::optional("roots", Shape::List(ALL, &Shape::Object(&[Field::required("path", ANY)]))),
    Field::optional("position", NUMBER),
    Field::optional("createdAt", NUMBER),
    Field::optional("updatedAt", NUMBER),
    Field::optional("recencyAt", NUMBER),
]);
const PROJECTS: [Field; 3] = page(&PROJECT);

const SECTIONS: [Field; 3] = page(&Shape::Object(&[Field::required("id", ANY), Field::required("name", ANY)]));
const OWNERS: [Field; 3] =
    page(&Shape::Object(&[Field::required("threadId", ANY), Field::optional("archived", Shape::Bool)]));

const PICKS: &str = "pick a model, its effort, a mode";
const SPENDS: &str = "what the account has left, for those who spend it";
const NO_FOLDER: &str = "it can't be tied to a folder, so it is for owners";

pub(super) const METHODS: &[Method] = &[
    read("model/list", Subject::Host, &[CURSOR, LIMIT], Shape::Object(&MODELS_PAGE), PICKS),
    read("collaborationMode/list", Subject::Host, &[], Shape::Object(&MODES), PICKS),
    read(
        "modelProvider/capabilities/read",
        Subject::Host,
        &[],
        Shape::Object(&[Field::optional("imageGeneration", Shape::Bool), Field::optional("webSearch", Shape::Bool)]),
        PICKS,
    ),
    read("account/read", Subject::Host, &[], ACCOUNT, "the kind of account and its plan, never whose")
        .needs(Right::Operator),
    read(
        "account/rateLimits/read",
        Subject::Host,
        &[],
        Shape::Object(&[Field::required("rateLimits", RATE_LIMITS)]),
        SPENDS,
    )
    .needs(Right::Operator),
    read("account/usage/read", Subject::Host, &[], USED, SPENDS).needs(Right::Operator),
    read("configRequirements/read", Subject::Host, &[], REQUIREMENTS, "what an administrator allows here")
        .needs(Right::Owner),
    read("permissionProfile/list", Subject::Host, &[CURSOR, LIMIT], Shape::Object(&PROFILES), NO_FOLDER)
        .needs(Right::Owner),
    read("skills/list", Subject::Host, &[], SKILLS, NO_FOLDER).needs(Right::Owner),
    read(
        "project/list",
        Subject::Host,
        &[CURSOR, LIMIT, DIRECTION, Field::optional("sortKey", Shape::OneOf(&["position", "recencyAt"]))],
        Shape::Object(&PROJECTS),
        NO_FOLDER,
    )
    .needs(Right::Owner),
    read(
        "project/read",
        Subject::Host,
        &[Field::required("projectId", ID)],
        Shape::Object(&[Field::required("project", PROJECT)]),
        NO_FOLDER,
    )
    .needs(Right::Owner),
    read("threadSection/list", Subject::Host, &[CURSOR, LIMIT], Shape::Object(&SECTIONS), NO_FOLDER)
        .needs(Right::Owner),
    read(
        "thread/attachmentOwner/list",
        Subject::Host,
        &[Field::required("attachmentType", ID), Field::required("identityKey", ID), CURSOR, LIMIT, ARCHIVED],
        Shape::Object(&OWNERS),
        NO_FOLDER,
    )
    .needs(Right::Owner),
    // The phone names an item; which bytes that means, the host finds in the thread.
    Method {
        verdict: Verdict::Own,
        ..read(
            "farhelm/image/read",
            OF_THREAD,
            &[THREAD_ID, Field::required("itemId", ID), Field::optional("index", Shape::Int(0, 63))],
            Shape::Object(&[Field::required("mimeType", ANY), Field::required("dataBase64", ANY)]),
            "an image that stands in an item of the thread",
        )
    },
    closed("initialize", Verdict::HostOnly, "the connection to Codex is the host's"),
    closed("fs/readFile", Verdict::HostOnly, "it reads any path; the host reads images that stand in a thread"),
];
