module microthread/bench

go 1.19
