package spec

import "slices"

// ChoosePublic says which service of app gets the project's own hostname: the one with Public (of several web, else the
// first; the others get hostnames of their own), else the only one that lists ports, else the one called web, else the
// only one there is. Tasks and Internal services are never chosen. When
// nothing decides, question tells that a person must; an application of tasks alone has neither name nor question.
func ChoosePublic(app Application) (name string, question bool) {
	var all, ported, marked []string
	web := ""
	for _, s := range app.Services {
		switch {
		case s.Task || s.Internal:
			continue
		case s.Public:
			marked = append(marked, s.Name)
		}
		if s.Name == "web" {
			web = s.Name
		}
		all = append(all, s.Name)
		if len(s.Ports) > 0 {
			ported = append(ported, s.Name)
		}
	}
	switch {
	case slices.Contains(marked, web):
		return web, false
	case len(marked) > 0:
		return marked[0], false
	case len(ported) == 1:
		return ported[0], false
	case web != "":
		return web, false
	case len(all) == 1:
		return all[0], false
	}
	return "", len(all) > 0
}
