package codec

import (
	"context"
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// DataConverter returns the data converter for clients and workers.
//
// In workflow code a payload whose key is not at hand panics instead of
// returning an error: an error would fail the incident for good, while a panic
// makes the server try the step again until the worker has its key back.
func (c *Codec) DataConverter() converter.DataConverter {
	return dataConverter{converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), c)}
}

// FailureConverter returns the failure converter for clients and workers. The
// message and stack trace of a failure are encrypted; its type stays readable.
func (c *Codec) FailureConverter() converter.FailureConverter {
	return temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
		DataConverter:          c.DataConverter(),
		EncodeCommonAttributes: true,
	})
}

// dataConverter becomes a workflowConverter inside workflow code.
type dataConverter struct{ converter.DataConverter }

var (
	_ workflow.ContextAware                           = dataConverter{}
	_ workflow.ContextAware                           = workflowConverter{}
	_ converter.DataConverterWithSerializationContext = dataConverter{}
	_ converter.DataConverterWithSerializationContext = workflowConverter{}
)

// WithWorkflowContext implements workflow.ContextAware.
func (d dataConverter) WithWorkflowContext(workflow.Context) converter.DataConverter {
	return workflowConverter(d)
}

// WithContext implements workflow.ContextAware.
func (d dataConverter) WithContext(context.Context) converter.DataConverter { return d }

// WithSerializationContext implements
// converter.DataConverterWithSerializationContext; the codec has no use for it.
func (d dataConverter) WithSerializationContext(converter.SerializationContext) converter.DataConverter {
	return d
}

// workflowConverter panics where an error would cost an incident its life.
type workflowConverter struct{ converter.DataConverter }

// WithWorkflowContext implements workflow.ContextAware.
func (w workflowConverter) WithWorkflowContext(workflow.Context) converter.DataConverter { return w }

// WithContext implements workflow.ContextAware.
func (w workflowConverter) WithContext(context.Context) converter.DataConverter {
	return dataConverter(w)
}

// WithSerializationContext implements
// converter.DataConverterWithSerializationContext; the codec has no use for it.
func (w workflowConverter) WithSerializationContext(converter.SerializationContext) converter.DataConverter {
	return w
}

// FromPayload implements converter.DataConverter.
func (w workflowConverter) FromPayload(payload *commonpb.Payload, valuePtr any) error {
	return panicWithoutKey(w.DataConverter.FromPayload(payload, valuePtr))
}

// FromPayloads implements converter.DataConverter.
func (w workflowConverter) FromPayloads(payloads *commonpb.Payloads, valuePtrs ...any) error {
	return panicWithoutKey(w.DataConverter.FromPayloads(payloads, valuePtrs...))
}

func panicWithoutKey(err error) error {
	if errors.Is(err, ErrUnknownKey) {
		panic(fmt.Sprintf("%v: put the key back into the key file and start again", err))
	}
	return err
}
