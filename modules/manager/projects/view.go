package projects

import (
	"time"

	"github.com/google/uuid"

	"pandu/modules/manager/routing"
)

// ProjectView is a project as the API shows it. Status and URLs of environments are filled in by the room that knows them.
type ProjectView struct {
	ID           uuid.UUID         `json:"id"`
	Slug         string            `json:"slug"`
	Name         string            `json:"name"`
	Status       string            `json:"status" enum:"pending,progress,ready,stopped,failed,unknown,deleting,deleted,cancelled"`
	URL          string            `json:"url"`
	Environments []EnvironmentLine `json:"environments" nullable:"false"`
	CreatedAt    time.Time         `json:"created_at"`
	UpdatedAt    time.Time         `json:"updated_at"`
}

// EnvironmentLine is an environment in a list.
type EnvironmentLine struct {
	ID     uuid.UUID `json:"id"`
	Slug   string    `json:"slug"`
	Status string    `json:"status" enum:"pending,progress,ready,stopped,failed,unknown,deleting,deleted,cancelled"`
	URLs   []string  `json:"urls" nullable:"false"`
}

// Present makes the view of a project from its environments, their hostnames and statuses.
func Present(p Project, environments []Environment, domains map[uuid.UUID][]routing.Domain, status map[uuid.UUID]string) ProjectView {
	v := ProjectView{
		ID: p.ID, Slug: p.Slug, Name: p.Name, Status: "pending", CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
		Environments: []EnvironmentLine{},
	}
	for _, e := range environments {
		if e.ProjectID != p.ID {
			continue
		}
		line := EnvironmentLine{ID: e.ID, Slug: e.Slug, Status: "pending", URLs: URLs(domains[e.ID])}
		if s := status[e.ID]; s != "" {
			line.Status = s
		}
		v.Environments = append(v.Environments, line)
		if e.Slug == Production || v.URL == "" {
			v.Status = line.Status
			if len(line.URLs) > 0 {
				v.URL = line.URLs[0]
			}
		}
	}
	if p.DeletingAt != nil {
		v.Status = "deleting"
	}
	return v
}

// URLs are the addresses of hostnames: the tenant's own before ours, the public service's before others.
func URLs(domains []routing.Domain) []string {
	urls := []string{}
	for _, pick := range []func(routing.Domain) bool{
		func(d routing.Domain) bool { return d.Kind == routing.Custom && d.Service == "" },
		func(d routing.Domain) bool { return d.Kind == routing.Auto && d.Service == "" },
		func(d routing.Domain) bool { return d.Service != "" },
	} {
		for _, d := range domains {
			if pick(d) {
				urls = append(urls, d.URL)
			}
		}
	}
	return urls
}
