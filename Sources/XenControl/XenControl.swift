// The room XenControl.
