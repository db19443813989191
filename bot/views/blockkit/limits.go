package blockkit

// Limits of blocks and views. Lengths are in characters, counted as Unicode code
// points; sizes are numbers of items.
const (
	// maxMessageBlocks is the number of blocks in one message.
	// Source: https://docs.slack.dev/reference/block-kit/blocks
	maxMessageBlocks = 50
	// maxViewBlocks is the number of blocks in one modal or Home tab.
	// Source: https://docs.slack.dev/reference/block-kit/blocks
	maxViewBlocks = 100
	// maxBlockID is the length of a block_id.
	// Source: https://docs.slack.dev/reference/block-kit/blocks
	maxBlockID = 255
	// maxActionID is the length of an action_id.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
	maxActionID = 255
	// maxSectionText is the length of the text of a section.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/section-block
	maxSectionText = 3000
	// maxSectionFields is the number of fields of a section.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/section-block
	maxSectionFields = 10
	// maxFieldText is the length of one field of a section.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/section-block
	maxFieldText = 2000
	// maxHeaderText is the length of a header.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/header-block
	maxHeaderText = 150
	// maxActionsElements is the number of elements of an actions block.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/actions-block
	maxActionsElements = 25
	// maxContextElements is the number of elements of a context block.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/context-block
	maxContextElements = 10
	// maxText is the length of any text object that has no smaller limit.
	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/text-object
	maxText = 3000
	// maxAltText is the length of the description of an image.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/image-block
	maxAltText = 2000
	// maxImageTitle is the length of the title of an image block.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/image-block
	maxImageTitle = 2000
	// maxInputLabel is the length of the label of an input block.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/input-block
	maxInputLabel = 2000
	// maxInputHint is the length of the hint of an input block.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/input-block
	maxInputHint = 2000
	// maxMarkdown is the length of all markdown blocks of a message together.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/markdown-block
	maxMarkdown = 12000
	// maxViewTitle is the length of the title of a modal.
	// Source: https://docs.slack.dev/reference/views/modal-views
	maxViewTitle = 24
	// maxViewButton is the length of the submit and close labels of a modal.
	// Source: https://docs.slack.dev/reference/views/modal-views
	maxViewButton = 24
	// maxCallbackID is the length of the callback_id of a view.
	// Source: https://docs.slack.dev/reference/views/modal-views
	maxCallbackID = 255
	// maxExternalID is the length of the external_id of a view.
	// Source: https://docs.slack.dev/reference/views/modal-views
	maxExternalID = 255
	// maxPrivateMetadata is the length of the private_metadata of a view.
	// Source: https://docs.slack.dev/reference/views/modal-views
	maxPrivateMetadata = 3000
)

// Limits of elements and composition objects, in the same units.
const (
	// maxButtonText is the length of the label of a button.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
	maxButtonText = 75
	// maxButtonValue is the length of the value a button carries.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
	maxButtonValue = 2000
	// maxAccessibilityLabel is the length of what a screen reader says for a button.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
	maxAccessibilityLabel = 75
	// maxURL is the length of the address of an image, and of the one that a
	// button or an overflow option opens.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
	maxURL = 3000
	// maxPlaceholder is the length of a placeholder.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element
	maxPlaceholder = 150
	// maxOptions is the number of options of a select menu or an option group.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element
	maxOptions = 100
	// maxOptionGroups is the number of option groups of a select menu.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/select-menu-element
	maxOptionGroups = 100
	// maxOptionText is the length of the label of an option.
	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/option-object
	maxOptionText = 75
	// maxOptionValue is the length of the value of an option.
	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/option-object
	maxOptionValue = 150
	// maxOptionDescription is the length of the second line of an option.
	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/option-object
	maxOptionDescription = 75
	// maxOptionGroupLabel is the length of the label of an option group.
	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/option-group-object
	maxOptionGroupLabel = 75
	// maxOverflowOptions is the number of options of an overflow menu.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/overflow-menu-element
	maxOverflowOptions = 5
	// maxChoices is the number of options of checkboxes and of radio buttons.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/radio-button-group-element
	maxChoices = 10
	// maxInputLength is the largest min_length and max_length of a text input, and
	// so the longest initial value.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/plain-text-input-element
	maxInputLength = 3000
	// maxInputFiles is the largest max_files of a file input.
	// Source: https://docs.slack.dev/reference/block-kit/block-elements/file-input-element
	maxInputFiles = 10
	// maxConfirmTitle is the length of the title of a confirmation dialog.
	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
	maxConfirmTitle = 100
	// maxConfirmText is the length of the text of a confirmation dialog.
	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
	maxConfirmText = 300
	// maxConfirmButton is the length of both labels of a confirmation dialog.
	// Source: https://docs.slack.dev/reference/block-kit/composition-objects/confirmation-dialog-object
	maxConfirmButton = 30
	// maxListIndent is the deepest level of a list in rich text, counted from zero.
	// Source: https://docs.slack.dev/reference/block-kit/blocks/rich-text-block
	maxListIndent = 8
)
