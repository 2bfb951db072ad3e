module ekiben.dev/localcluster/pause

go 1.21
