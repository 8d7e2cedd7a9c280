package spec

// ChoosePublic says which service of app gets the project's own hostname: the first with Public, else the only one that
// lists ports, else the one called web, else the only one there is. Tasks and Internal services are never chosen. When
// nothing decides, question tells that a person must; an application of tasks alone has neither name nor question.
func ChoosePublic(app Application) (name string, question bool) {
	var all, ported []string
	web := ""
	for _, s := range app.Services {
		switch {
		case s.Task || s.Internal:
			continue
		case s.Public:
			return s.Name, false
		case s.Name == "web":
			web = s.Name
		}
		all = append(all, s.Name)
		if len(s.Ports) > 0 {
			ported = append(ported, s.Name)
		}
	}
	switch {
	case len(ported) == 1:
		return ported[0], false
	case web != "":
		return web, false
	case len(all) == 1:
		return all[0], false
	}
	return "", len(all) > 0
}
