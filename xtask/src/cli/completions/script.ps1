# What follows `cargo xtask`, for PowerShell. It completes nothing else of cargo.
Register-ArgumentCompleter -Native -CommandName cargo -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $words = @($commandAst.CommandElements | ForEach-Object { $_.ToString() })
    if ($words.Count -lt 2 -or $words[1] -ne 'xtask') {
        'xtask', 'build', 'check', 'clean', 'doc', 'fmt', 'run', 'test', 'update' |
            Where-Object { $_ -like "$wordToComplete*" }
        return
    }
    $after = @($words | Select-Object -Skip 2)
    if ($wordToComplete -eq '') { $after += '""' }
    & '@PROGRAM@' completions -- @after 2>$null | ForEach-Object {
        $name, $about = $_ -split "`t", 2
        if ($name -eq ':paths') { return }
        if (-not $about) { $about = $name }
        [System.Management.Automation.CompletionResult]::new($name, $name, 'ParameterValue', $about)
    }
}
