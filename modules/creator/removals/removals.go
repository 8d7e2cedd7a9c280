// Package removals deletes what a project left in storage when nothing of it runs any more.
package removals

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"pandu/jobs"
	"pandu/modules/manager/deployments"
)

// Worker runs jobs.RemoveProject.
type Worker struct {
	river.WorkerDefaults[jobs.RemoveProject]
	Deployments *deployments.Service
}

// Timeout bounds one run.
func (w *Worker) Timeout(*river.Job[jobs.RemoveProject]) time.Duration {
	return jobs.Lookup(jobs.RemoveProject{}.Kind()).Timeout
}

// Work deletes files and images, then the project's row. What was deleted before is no error.
func (w *Worker) Work(ctx context.Context, job *river.Job[jobs.RemoveProject]) error {
	if err := w.Deployments.RemoveFiles(ctx, job.Args.OrganizationID, job.Args.ProjectID); err != nil {
		return fmt.Errorf("remove project %s: %w", job.Args.ProjectID, err)
	}
	return nil
}
