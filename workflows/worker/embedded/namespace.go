package embedded

import (
	"context"
	"fmt"
	"maps"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	namespacepb "go.temporal.io/api/namespace/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
)

// settle is the server's own interval for reading namespaces again, twice: by
// then every service knows a search attribute that was just added.
// Source: common/dynamicconfig/constants.go, NamespaceCacheRefreshInterval.
const settle = 4 * time.Second

// alignNamespace gives an existing namespace the retention and the search
// attributes of the options. A namespace made by this start already has both.
func alignNamespace(ctx context.Context, c client.Client, opts Options) error {
	if err := alignRetention(ctx, c, opts); err != nil {
		return fmt.Errorf("set retention of namespace %q: %w", opts.Namespace, err)
	}
	if err := alignSearchAttributes(ctx, c, opts); err != nil {
		return fmt.Errorf("add search attributes to namespace %q: %w", opts.Namespace, err)
	}
	return nil
}

func alignRetention(ctx context.Context, c client.Client, opts Options) error {
	found, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{
		Namespace: opts.Namespace,
	})
	if err != nil {
		return err
	}
	if found.GetConfig().GetWorkflowExecutionRetentionTtl().AsDuration() == opts.Retention {
		return nil
	}
	_, err = c.WorkflowService().UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{
		Namespace: opts.Namespace,
		Config:    &namespacepb.NamespaceConfig{WorkflowExecutionRetentionTtl: durationpb.New(opts.Retention)},
	})
	return err
}

func alignSearchAttributes(ctx context.Context, c client.Client, opts Options) error {
	if len(opts.SearchAttributes) == 0 {
		return nil
	}
	listed, err := c.OperatorService().ListSearchAttributes(ctx, &operatorservice.ListSearchAttributesRequest{
		Namespace: opts.Namespace,
	})
	if err != nil {
		return err
	}
	missing := map[string]enumspb.IndexedValueType{}
	for name, want := range opts.SearchAttributes {
		switch have, ok := listed.GetCustomAttributes()[name]; {
		case !ok:
			missing[name] = want
		case have != want:
			return fmt.Errorf("attribute %q exists as %s, want %s", name, have, want)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	if _, err := c.OperatorService().AddSearchAttributes(ctx, &operatorservice.AddSearchAttributesRequest{
		Namespace:        opts.Namespace,
		SearchAttributes: maps.Clone(missing),
	}); err != nil {
		return err
	}
	select {
	case <-time.After(settle):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
